// Ranks that talk over TCP, between hosts or on one: a connection for each pair, in both directions at once.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "gradus/comm/tcp_mesh.h"
#include "gradus/comm/transport.h"

namespace gradus::comm {

struct TcpOptions {
  std::string token;
  std::chrono::milliseconds connect_timeout{60'000};
  std::chrono::milliseconds lost_after{4'000};  // of silence of a peer whose watch() runs
  std::vector<bool> wanted = {};                // as in MeshOptions
};

// Collective. Fails as connect_mesh does.
std::unique_ptr<Transport> tcp_transport(const Meeting& meeting, int rank, const TcpOptions& options);

// The same over connections that are there already; [P] each.
std::unique_ptr<Transport> tcp_transport(std::vector<Peer> peers, std::vector<Connection> connections, int rank,
                                         std::chrono::milliseconds lost_after);

}  // namespace gradus::comm
