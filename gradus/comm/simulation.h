// What a collective would cost on machines that are not there: an algorithm's own schedule on a virtual clock; and the
// model's figures, measured on this machine.
#pragma once

#include <vector>

#include "gradus/comm/algorithms.h"
#include "gradus/comm/group.h"
#include "gradus/comm/simulated_transport.h"

namespace gradus::comm {

// The textbook's constants: alpha per message, beta per byte sent, gamma per byte reduced, kappa per byte copied.
struct Costs {
  double alpha_s = 0, beta_s_per_byte = 0, gamma_s_per_byte = 0, copy_s_per_byte = 0;
};
NetworkModel model_of(const Costs& costs);

struct SimulationJob {
  int ranks = 2;
  int64_t count = 0;   // elements of the whole vector
  size_t element = 4;  // bytes of one
  int root = 0;
};

struct SimulationResult {
  double seconds = 0;            // until the last rank is done
  std::vector<Traffic> traffic;  // of each rank
  uint64_t exchanges = 0;        // of all
};

// The algorithm among ranks that begin at once. Throws what the algorithm and SimulatedWorld throw: unsupported, for
// one, where it does not work for these ranks.
SimulationResult simulate(const Algorithm& algorithm, const SimulationJob& job, const NetworkModel& model);

// The algorithm of this name. Throws invalid_argument that names those there are.
const Algorithm& find_algorithm(Operation operation, std::string_view name);

// Measures the model of one host, or of hosts that hold a rank each. Collective; rank 0 gets the model, as it and rank
// 1 see it, the others an empty one. For messages of each of these sizes, which ascend and are two or more, from 4
// bytes on, it takes what ranks usually need in a collective, since what a processor reads that another one wrote has
// its own price. In what a collective's ranks do all at once, ranks 2 and 3, 4 and 5, ... keep the machine as busy:
//   both_ways      an exchange that copies aside, less a copy of what the rank wrote last; the same local and remote
//   copy, reduce   the two exchanges of the ring, less the message
//   copy_aside     what the rank wrote last
//   combine        what an exchange has copied aside
//   one_way, copy_one_way  of a message there, its reduction and a message back, half of what the reduction leaves: the
//                          copy at most what it costs the ring, and the rest the message
// Pipelining is part of what is measured, so `overlap` is 0.
NetworkModel calibrate(Group& group, std::span<const size_t> sizes);

}  // namespace gradus::comm
