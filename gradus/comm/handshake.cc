#include "gradus/comm/handshake.h"

#include <sys/random.h>

#include <cstring>

#include "gradus/comm/hmac.h"
#include "gradus/core/error.h"

namespace gradus::comm {

namespace {

constexpr std::string_view kGreeting = "GRADUS/1";  // changes when what travels changes
constexpr size_t kNonce = 16, kProof = sizeof(Digest);

std::string proof(std::string_view token, std::string_view who, std::string_view nonces, std::string_view hello) {
  const Digest d = hmac_sha256(token, fmt::format("gradus {} {}{}", who, nonces, hello));
  return {reinterpret_cast<const char*>(d.data()), d.size()};
}

bool equal_text(std::string_view a, std::string_view b) {
  Digest x, y;
  GRADUS_CHECK(a.size() == x.size() && b.size() == y.size());
  std::memcpy(x.data(), a.data(), x.size());
  std::memcpy(y.data(), b.data(), y.size());
  return equal(x, y);
}

std::string receive_nonce(const Descriptor& socket, Deadline deadline) {
  const std::string greeting = receive_exactly(socket, kGreeting.size() + kNonce, deadline);
  if (!greeting.starts_with(kGreeting)) {
    fail(ErrorCode::corrupt, "handshake: {} is no rank of this version of Gradus; start the same program everywhere",
         remote_address(socket).text());
  }
  return greeting.substr(kGreeting.size());
}

[[noreturn]] void refuse(const Descriptor& socket, const char* who) {
  fail(ErrorCode::invalid_argument,
       "handshake: {} {} another job token; give all ranks the same GRADUS_JOB_TOKEN, as `gradus launch` does",
       remote_address(socket).text(), who);
}

}  // namespace

std::string random_bytes(size_t n) {
  std::string bytes(n, '\0');
  for (size_t have = 0; have < n;) {
    const ssize_t got = ::getrandom(bytes.data() + have, n - have, 0);
    if (got > 0) have += static_cast<size_t>(got);
  }
  return bytes;
}

void introduce(const Descriptor& socket, std::string_view token, std::string_view hello, Deadline deadline) {
  GRADUS_CHECK(hello.size() <= kMostHello);
  const std::string mine = random_bytes(kNonce);
  const std::string nonces = receive_nonce(socket, deadline) + mine;
  send_all(socket, std::string(kGreeting) + mine, deadline);
  send_text(socket, hello, deadline);
  send_all(socket, proof(token, "client", nonces, hello), deadline);
  if (receive_exactly(socket, 1, deadline) != "+") refuse(socket, "expects");
  if (!equal_text(receive_exactly(socket, kProof, deadline), proof(token, "server", nonces, hello))) {
    refuse(socket, "has");
  }
}

std::string expect_hello(const Descriptor& socket, std::string_view token, Deadline deadline) {
  const std::string mine = random_bytes(kNonce);
  send_all(socket, std::string(kGreeting) + mine, deadline);
  const std::string nonces = mine + receive_nonce(socket, deadline);
  std::string hello = receive_text(socket, kMostHello, deadline);
  if (!equal_text(receive_exactly(socket, kProof, deadline), proof(token, "client", nonces, hello))) {
    send_all(socket, "-", deadline);
    refuse(socket, "has");
  }
  send_all(socket, "+", deadline);
  send_all(socket, proof(token, "server", nonces, hello), deadline);
  return hello;
}

}  // namespace gradus::comm
