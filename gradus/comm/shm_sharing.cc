#include "gradus/comm/shm_sharing.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include "gradus/comm/handshake.h"
#include "gradus/comm/hmac.h"
#include "gradus/core/error.h"

namespace gradus::comm {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kHandshake{2'000};
constexpr size_t kMostReason = 4096;  // bytes

// A name that only those who know the token can tell, and that differs between jobs.
sockaddr_un address_of(const Peer& leader, std::string_view token, socklen_t& size) {
  const Digest digest = hmac_sha256(
      token, fmt::format("gradus memory {} {} {} {}", leader.host_id, leader.pid, leader.address, leader.port));
  const std::string name = fmt::format("gradus-{:02x}", fmt::join(digest, ""));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::ranges::copy(name, address.sun_path + 1);  // a name that begins with zero is abstract
  size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return address;
}

Descriptor make_socket() {
  Descriptor s(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!s) fail(ErrorCode::exhausted, "shm: no socket: {}", std::strerror(errno));
  return s;
}

void require_same_user(const Descriptor& s) {
  ucred peer{};
  socklen_t n = sizeof peer;
  const bool known = ::getsockopt(s.get(), SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0;
  require(known && peer.uid == ::geteuid(), "shm: a process of user {} wants this job's memory, which is of user {}",
          known ? static_cast<int64_t>(peer.uid) : -1, ::geteuid());
}

union Ancillary {
  cmsghdr header;
  std::array<char, CMSG_SPACE(sizeof(int))> bytes;
};

msghdr message_of(iovec& one, Ancillary& ancillary) {
  msghdr m{};
  m.msg_iov = &one;
  m.msg_iovlen = 1;
  m.msg_control = ancillary.bytes.data();
  m.msg_controllen = ancillary.bytes.size();
  return m;
}

void send_descriptor(const Descriptor& s, int fd) {
  char mark = 'f';
  iovec one{&mark, 1};
  Ancillary ancillary{};
  msghdr m = message_of(one, ancillary);
  cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
  if (::sendmsg(s.get(), &m, MSG_NOSIGNAL) != 1) fail(ErrorCode::peer_lost, "shm: {}", std::strerror(errno));
}

Descriptor receive_descriptor(const Descriptor& s, Deadline deadline) {
  if (!wait_ready(s.get(), POLLIN, deadline)) fail(ErrorCode::timeout, "shm: the memory did not come");
  char mark = 0;
  iovec one{&mark, 1};
  Ancillary ancillary{};
  msghdr m = message_of(one, ancillary);
  const ssize_t n = ::recvmsg(s.get(), &m, MSG_CMSG_CLOEXEC);
  const cmsghdr* c = n == 1 ? CMSG_FIRSTHDR(&m) : nullptr;
  if (c == nullptr || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int))) {
    fail(ErrorCode::peer_lost, "shm: the rank that makes the memory is gone");
  }
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(c), sizeof fd);
  return Descriptor(fd);
}

struct Member {
  int rank = 0;
  Descriptor socket;
};

// All other ranks of this host, as they come.
std::vector<Member> admit(const std::vector<Peer>& peers, const std::vector<int>& ranks, std::string_view token,
                          Deadline deadline) {
  socklen_t size = 0;
  const sockaddr_un address = address_of(peers[static_cast<size_t>(ranks[0])], token, size);
  const Descriptor listener = make_socket();
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      ::listen(listener.get(), 1024) != 0) {
    fail(ErrorCode::io, "shm: cannot listen for the ranks of this host: {}", std::strerror(errno));
  }
  std::vector<Member> members;
  while (members.size() + 1 < ranks.size()) {
    try {
      Descriptor s = accept_from(listener, deadline);
      require_same_user(s);
      const std::string hello = expect_hello(s, token, std::min(deadline, steady_clock::now() + kHandshake));
      for (const int r : ranks) {
        if (hello == fmt::format("memory {}", r)) members.push_back({r, std::move(s)});
      }
    } catch (const Error& e) {
      if (e.code() != ErrorCode::io && steady_clock::now() < deadline) continue;  // a stranger
      const auto missing = std::ranges::find_if(
          ranks, [&](int r) { return r != ranks[0] && std::ranges::find(members, r, &Member::rank) == members.end(); });
      fail(ErrorCode::timeout, "shm: {} did not come for this host's memory: {}",
           peers[static_cast<size_t>(*missing)].text(), e.what());
    }
  }
  return members;
}

SharedMemory lead(const std::vector<Peer>& peers, const std::vector<int>& ranks, std::string_view token,
                  Deadline deadline) {
  const std::vector<Member> members = admit(peers, ranks, token, deadline);
  SharedMemory memory;
  try {
    memory.segment = std::make_shared<const ShmSegment>(ShmSegment::create(static_cast<int>(peers.size())));
  } catch (const Error& e) {
    memory.why_not = e.what();
  }
  for (const Member& m : members) {
    send_text(m.socket, memory.why_not, deadline);
    if (memory.segment) send_descriptor(m.socket, memory.segment->fd());
  }
  for (const Member& m : members) {
    const std::string problem = receive_text(m.socket, kMostReason, deadline);
    if (memory.why_not.empty()) memory.why_not = problem;
  }
  for (const Member& m : members) send_text(m.socket, memory.why_not, deadline);
  if (!memory.why_not.empty()) memory.segment = nullptr;
  return memory;
}

Descriptor visit_leader(const Peer& leader, std::string_view token, int rank, Deadline deadline) {
  socklen_t size = 0;
  const sockaddr_un address = address_of(leader, token, size);
  while (true) {
    Descriptor s = make_socket();
    if (::connect(s.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0) {
      require_same_user(s);
      introduce(s, token, fmt::format("memory {}", rank), deadline);
      return s;
    }
    if (steady_clock::now() >= deadline) {
      fail(ErrorCode::timeout, "shm: {} did not offer this host's memory: {}", leader.text(), std::strerror(errno));
    }
    ::poll(nullptr, 0, 1);  // it is on its way
  }
}

SharedMemory follow(const Peer& leader, std::string_view token, int rank, Deadline deadline) {
  const Descriptor s = visit_leader(leader, token, rank, deadline);
  SharedMemory memory;
  std::string problem = receive_text(s, kMostReason, deadline);
  if (problem.empty()) {
    const Descriptor fd = receive_descriptor(s, deadline);
    try {
      memory.segment = std::make_shared<const ShmSegment>(ShmSegment::attach(fd.get()));
    } catch (const Error& e) {
      problem = e.what();
    }
  }
  send_text(s, problem, deadline);
  memory.why_not = receive_text(s, kMostReason, deadline);
  if (!memory.why_not.empty()) memory.segment = nullptr;
  return memory;
}

}  // namespace

SharedMemory share_memory(const std::vector<Peer>& peers, int rank, std::string_view token, milliseconds timeout) {
  std::vector<int> ranks;  // of this host
  const std::string& host = peers[static_cast<size_t>(rank)].host_id;
  for (const Peer& p : peers) {
    if (p.host_id == host) ranks.push_back(p.rank);
  }
  if (ranks.size() == 1) return {};
  if (static_cast<int>(peers.size()) > kShmMostRanks) {
    return {nullptr, fmt::format("shm: {} ranks, but at most {} can share memory", peers.size(), kShmMostRanks)};
  }
  const Deadline deadline = steady_clock::now() + timeout;
  if (rank == ranks[0]) return lead(peers, ranks, token, deadline);
  return follow(peers[static_cast<size_t>(ranks[0])], token, rank, deadline);
}

}  // namespace gradus::comm
