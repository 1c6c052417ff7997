#include "gradus/comm/socket.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <random>

#include "gradus/core/error.h"

namespace gradus::comm {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

std::string what_went_wrong(int error) {
  std::array<char, 128> buffer{};
  return strerror_r(error, buffer.data(), buffer.size());
}

Descriptor make_socket(const Address& address) {
  Descriptor s(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!s) fail(ErrorCode::io, "socket: {}", what_went_wrong(errno));
  return s;
}

const sockaddr* pointer(const Address& a) {
  return reinterpret_cast<const sockaddr*>(&a.storage);
}

void send_small_messages_at_once(const Descriptor& s) {
  const int on = 1;
  ::setsockopt(s.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

[[noreturn]] void fail_stream(const Descriptor& s, const char* what, int error) {
  const bool gone = error == 0 || error == ECONNRESET || error == EPIPE;
  fail(gone ? ErrorCode::peer_lost : ErrorCode::io, "{} {}: {}", what, remote_address(s).text(),
       error == 0 ? "it closed the connection" : what_went_wrong(error));
}

}  // namespace

std::string Address::host() const {
  std::array<char, NI_MAXHOST> host{};
  if (::getnameinfo(pointer(*this), size, host.data(), host.size(), nullptr, 0, NI_NUMERICHOST) != 0) return "?";
  return host.data();
}

int Address::port() const {
  if (storage.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(storage).sin6_port);
  return ntohs(reinterpret_cast<const sockaddr_in&>(storage).sin_port);
}

void Address::set_port(int port) {
  if (storage.ss_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6&>(storage).sin6_port = htons(static_cast<uint16_t>(port));
  } else {
    reinterpret_cast<sockaddr_in&>(storage).sin_port = htons(static_cast<uint16_t>(port));
  }
}

bool Address::is_loopback() const {
  if (storage.ss_family == AF_INET6) {
    const in6_addr& a = reinterpret_cast<const sockaddr_in6&>(storage).sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(&a) || (IN6_IS_ADDR_V4MAPPED(&a) && a.s6_addr[12] == 127);
  }
  return (ntohl(reinterpret_cast<const sockaddr_in&>(storage).sin_addr.s_addr) >> 24) == 127;
}

std::string Address::text() const {
  return fmt::format(fmt::runtime(storage.ss_family == AF_INET6 ? "[{}]:{}" : "{}:{}"), host(), port());
}

std::vector<Address> resolve(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int status = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (status != 0) {
    fail(ErrorCode::not_found, "address: there is no host {} ({}); give a name or a number that this host knows", host,
         ::gai_strerror(status));
  }
  std::vector<Address> found;
  for (const addrinfo* a = list; a != nullptr; a = a->ai_next) {
    if (a->ai_family != AF_INET && a->ai_family != AF_INET6) continue;
    Address address;
    std::memcpy(&address.storage, a->ai_addr, a->ai_addrlen);
    address.size = a->ai_addrlen;
    address.set_port(port);
    found.push_back(address);
  }
  ::freeaddrinfo(list);
  if (found.empty()) fail(ErrorCode::not_found, "address: host {} has no internet address", host);
  return found;
}

Descriptor listen_at(const Address& address) {
  Descriptor s = make_socket(address);
  const int on = 1;
  ::setsockopt(s.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);  // a job that just ended does not keep the port
  if (::bind(s.get(), pointer(address), address.size) != 0 || ::listen(s.get(), 1024) != 0) {
    const int error = errno;
    const char* advice = error == EADDRINUSE      ? "; take another port"
                         : error == EADDRNOTAVAIL ? "; it is not an address of this host"
                                                  : "";
    fail(ErrorCode::io, "listen: cannot listen at {}: {}{}", address.text(), what_went_wrong(error), advice);
  }
  return s;
}

int free_port(const std::string& host) {
  constexpr int kFirst = 20'000, kPorts = 12'000, kAttempts = 200;
  std::random_device random;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const int port = kFirst + static_cast<int>(random() % kPorts);
    try {
      listen_at(resolve(host, port).front());
      return port;
    } catch (const Error& e) {
      if (e.code() != ErrorCode::io) throw;
    }
  }
  fail(ErrorCode::exhausted, "listen: no free port was found at {}", host);
}

bool wait_ready(int fd, short events, Deadline deadline) {
  while (true) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now()).count();
    pollfd p{fd, events, 0};
    const int n = ::poll(&p, 1, static_cast<int>(std::clamp<int64_t>(left, 0, 1'000'000)));
    if (n > 0) return true;
    if (n < 0 && errno != EINTR) fail(ErrorCode::io, "poll: {}", what_went_wrong(errno));
    if (n == 0 && left <= 0) return false;
  }
}

Descriptor accept_from(const Descriptor& listener, Deadline deadline) {
  while (true) {
    if (!wait_ready(listener.get(), POLLIN, deadline)) fail(ErrorCode::timeout, "accept: nobody came");
    Descriptor s(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (s) {
      send_small_messages_at_once(s);
      return s;
    }
    // One that came and went, or an error of the network on the new connection, is no matter of the listener.
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM || errno == EBADF ||
        errno == EINVAL) {
      fail(ErrorCode::io, "accept: {}; raise the limit of open files (ulimit -n)", what_went_wrong(errno));
    }
  }
}

Descriptor connect_to(const Address& address, Deadline deadline) {
  Descriptor s = make_socket(address);
  int error = 0;
  if (::connect(s.get(), pointer(address), address.size) != 0) error = errno;
  if (error == EINPROGRESS) {
    if (!wait_ready(s.get(), POLLOUT, deadline)) {
      fail(ErrorCode::timeout, "connect: {} does not answer", address.text());
    }
    socklen_t n = sizeof error;
    ::getsockopt(s.get(), SOL_SOCKET, SO_ERROR, &error, &n);
  }
  if (error != 0) fail(ErrorCode::io, "connect: {}: {}", address.text(), what_went_wrong(error));
  // On loopback a socket may, by chance, connect to itself while nobody listens.
  if (local_address(s).text() == address.text()) fail(ErrorCode::io, "connect: {}: nobody listens", address.text());
  send_small_messages_at_once(s);
  return s;
}

Address local_address(const Descriptor& socket) {
  Address a;
  a.size = sizeof a.storage;
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&a.storage), &a.size) != 0) a.size = 0;
  return a;
}

Address remote_address(const Descriptor& socket) {
  Address a;
  a.size = sizeof a.storage;
  if (::getpeername(socket.get(), reinterpret_cast<sockaddr*>(&a.storage), &a.size) != 0) a.size = 0;
  return a;
}

void send_all(const Descriptor& socket, std::string_view bytes, Deadline deadline) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n > 0) {
      bytes.remove_prefix(static_cast<size_t>(n));
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
      fail_stream(socket, "send to", errno);
    } else if (!wait_ready(socket.get(), POLLOUT, deadline)) {
      fail(ErrorCode::timeout, "send to {}: it does not read", remote_address(socket).text());
    }
  }
}

std::string receive_exactly(const Descriptor& socket, size_t bytes, Deadline deadline) {
  std::string received(bytes, '\0');
  size_t have = 0;
  while (have < bytes) {
    const ssize_t n = ::recv(socket.get(), received.data() + have, bytes - have, 0);
    if (n > 0) {
      have += static_cast<size_t>(n);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
      fail_stream(socket, "receive from", n == 0 ? 0 : errno);
    } else if (!wait_ready(socket.get(), POLLIN, deadline)) {
      fail(ErrorCode::timeout, "receive from {}: it does not answer", remote_address(socket).text());
    }
  }
  return received;
}

void send_text(const Descriptor& socket, std::string_view text, Deadline deadline) {
  std::string framed(4, '\0');
  for (size_t i = 0; i < 4; ++i) framed[i] = static_cast<char>(text.size() >> (8 * i));
  send_all(socket, framed += text, deadline);
}

std::string receive_text(const Descriptor& socket, size_t most, Deadline deadline) {
  const std::string length = receive_exactly(socket, 4, deadline);
  size_t n = 0;
  for (size_t i = 0; i < 4; ++i) n |= static_cast<size_t>(static_cast<unsigned char>(length[i])) << (8 * i);
  if (n > most) {
    fail(ErrorCode::corrupt, "receive from {}: a text of {} bytes, but at most {} are allowed",
         remote_address(socket).text(), n, most);
  }
  return receive_exactly(socket, n, deadline);
}

}  // namespace gradus::comm
