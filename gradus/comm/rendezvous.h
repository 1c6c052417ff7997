// How the ranks of a job find each other: rank 0 listens where the environment says, the others come to it, all prove
// the job's token, and everyone gets the table of all ranks. Connections between ranks are made later, by the table.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "gradus/comm/environment.h"
#include "gradus/comm/socket.h"

namespace gradus::comm {

// Where the library says what a user should know but need not act on; may be empty. Any thread.
using Warn = std::function<void(const std::string& text)>;

// What one rank tells the others of itself.
struct Peer {
  int rank = 0, size = 0;
  int pid = 0;
  std::string version = {};  // of the program
  std::string host = {};     // its name
  std::string host_id = {};  // equal for processes that can share memory and abstract sockets
  std::string address = {};  // where it listens
  int port = 0;

  std::string text() const;  // "rank 2 (process 4711 on node3)"
};

struct RendezvousOptions {
  std::chrono::milliseconds timeout{60'000};
  std::string version = "";  // of the program, which must be one for all; empty: the library's
  std::string host_id = "";  // empty: this host's
  Warn warn = {};
};

struct Meeting {
  std::vector<Peer> peers;  // [size], by rank
  Descriptor listener;      // where this rank listens for those of higher ranks
};

// Collective. No port listens beyond loopback unless the environment's address or interface is another.
// Every rank throws, naming the ranks at fault: invalid_argument when ranks disagree on their number or version, two
// have the same, or one cannot be reached by others; timeout, naming the missing, when one did not come. A rank with
// another token is refused alone, with invalid_argument; rank 0 warns of it, once for each address, and waits on.
// io when the port is taken.
Meeting rendezvous(const Environment& environment, const RendezvousOptions& options);

// Of this host: boot, network namespace, name.
std::string host_id();
std::string host_name();

}  // namespace gradus::comm
