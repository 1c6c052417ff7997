#include "gradus/comm/tcp_mesh.h"

#include <charconv>
#include <optional>

#include "gradus/comm/handshake.h"
#include "gradus/core/error.h"

namespace gradus::comm {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kHandshake{2'000};
constexpr std::string_view kData = "data ", kControl = "control ";

Descriptor call(const Peer& peer, std::string_view kind, int rank, std::string_view token, Deadline deadline) {
  try {
    Descriptor s = connect_to(resolve(peer.address, peer.port).front(), deadline);
    introduce(s, token, fmt::format("{}{}", kind, rank), deadline);
    return s;
  } catch (const Error& e) {
    fail(e.code() == ErrorCode::timeout ? ErrorCode::timeout : ErrorCode::peer_lost,
         "connect: rank {} cannot reach {} at {}:{}: {}", rank, peer.text(), peer.address, peer.port, e.what());
  }
}

// The place that a caller's first words name; null for a caller of another kind.
Descriptor* place_of(std::string_view hello, int rank, std::vector<Connection>& connections) {
  const bool data = hello.starts_with(kData);
  if (!data && !hello.starts_with(kControl)) return nullptr;
  hello.remove_prefix(data ? kData.size() : kControl.size());
  int r = -1;
  std::from_chars(hello.data(), hello.data() + hello.size(), r);
  if (r <= rank || r >= static_cast<int>(connections.size())) return nullptr;
  Connection& c = connections[static_cast<size_t>(r)];
  return data ? &c.data : &c.control;
}

}  // namespace

std::vector<Connection> connect_mesh(const Meeting& meeting, int rank, const MeshOptions& options) {
  const int P = static_cast<int>(meeting.peers.size());
  const auto wanted = [&](int r) { return options.wanted.empty() || options.wanted[static_cast<size_t>(r)]; };
  std::vector<Connection> connections(static_cast<size_t>(P));
  const Deadline deadline = steady_clock::now() + options.timeout;
  // Lower ranks first: rank 0 calls nobody, so that each rank called gets to answer.
  for (int r = 0; r < rank; ++r) {
    if (!wanted(r)) continue;
    const Peer& peer = meeting.peers[static_cast<size_t>(r)];
    Connection& c = connections[static_cast<size_t>(r)];
    c.data = call(peer, kData, rank, options.token, deadline);
    c.control = call(peer, kControl, rank, options.token, deadline);
  }
  const auto missing = [&]() -> std::optional<int> {
    for (int r = rank + 1; r < P; ++r) {
      const Connection& c = connections[static_cast<size_t>(r)];
      if (wanted(r) && (!c.data || !c.control)) return r;
    }
    return std::nullopt;
  };
  for (std::optional<int> r; (r = missing());) {
    try {
      Descriptor s = accept_from(meeting.listener, deadline);
      const std::string hello = expect_hello(s, options.token, std::min(deadline, steady_clock::now() + kHandshake));
      if (Descriptor* place = place_of(hello, rank, connections)) *place = std::move(s);
    } catch (const Error& e) {
      if (steady_clock::now() < deadline && e.code() != ErrorCode::io) continue;  // a stranger
      fail(ErrorCode::timeout, "connect: {} did not connect to rank {}: {}",
           meeting.peers[static_cast<size_t>(*r)].text(), rank, e.what());
    }
  }
  return connections;
}

}  // namespace gradus::comm
