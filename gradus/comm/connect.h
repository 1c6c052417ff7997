// From the environment to a group: rendezvous, then the transport that fits where the ranks are.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "gradus/comm/environment.h"
#include "gradus/comm/group.h"
#include "gradus/comm/rendezvous.h"

namespace gradus::comm {

struct ConnectOptions {
  // "shm": memory that processes of one host share; "tcp"; "auto": shm within each host, where it works, and TCP
  // between hosts; "mpi": Open MPI, which "auto" also takes when mpirun started ranks on several hosts and Gradus was
  // built with it. The environment's own word comes first.
  std::string transport = "auto";
  std::chrono::milliseconds connect_timeout{60'000};  // of rendezvous, and of connecting afterwards
  std::chrono::milliseconds lost_after{4'000};        // of silence; see Transport::watch
  std::string version = {};                           // of the program; empty: the library's
  std::string host_id = {};                           // instead of this host's; for tests of several hosts on one
  Warn warn = {};
};

// Collective; one rank alone meets nobody. The environment's timeout, if it has one, is that of each call, and bounds
// the connecting too. Fails on all ranks as rendezvous() does.
std::unique_ptr<Group> connect(const Environment& environment, GroupOptions options = {},
                               const ConnectOptions& connect_options = {});

}  // namespace gradus::comm
