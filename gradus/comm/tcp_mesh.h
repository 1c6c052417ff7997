// The connections between every two ranks, made after a rendezvous: one for data and one for control, so that a word
// of life or an abort never waits behind a vector.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "gradus/comm/rendezvous.h"
#include "gradus/comm/socket.h"

namespace gradus::comm {

struct Connection {
  Descriptor data, control;
};

struct MeshOptions {
  std::string token;
  std::chrono::milliseconds timeout{60'000};
  std::vector<bool> wanted = {};  // [P] which peers to connect with, the same for both ends; empty: all
};

// Connects with each wanted peer; [P], empty descriptors for this rank and those not wanted. Collective.
// Throws peer_lost, naming the rank, when one cannot be reached, timeout when one does not come.
std::vector<Connection> connect_mesh(const Meeting& meeting, int rank, const MeshOptions& options);

}  // namespace gradus::comm
