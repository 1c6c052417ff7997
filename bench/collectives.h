// Measuring collectives, as one rank of them.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "bench/collective_values.h"
#include "gradus/comm/group.h"

namespace gradus::bench {

// The same for all ranks.
struct CollectivePlan {
  CollectiveKind kind;
  std::string algorithm = "all";  // a name; all; auto: what the table takes
  std::vector<int64_t> bytes;     // of the whole vector, each a whole number of elements
  int rounds = 9;
  // [ranks], when they share memory: beside each f32 all-reduce the same loads and stores are timed without any
  // communication, every rank on its slice of these vectors. Each is set by its rank.
  std::span<std::byte*> shared_vectors{};
};

struct CollectiveResult {
  std::string algorithm;
  int64_t bytes = 0;          // of the whole vector: what is left of those wanted when each slice must be as long
  double seconds = 0;         // the median over rounds of the mean of the slowest rank
  int64_t sent_bytes = 0;     // by the rank that sent most
  int64_t wrong = 0;          // elements, on all ranks
  double stream_seconds = 0;  // of the same loads and stores without communication; 0: not measured
};

// Collective. In every round the algorithms take turns. report() is called on rank 0. Throws invalid_argument when
// there is no such algorithm.
void measure_collectives(comm::Group& group, const CollectivePlan& plan,
                         const std::function<void(const CollectiveResult&)>& report);

// busbw by algbw, nccl-tests' conventions: the share of the vector that each link has to carry at least.
double bus_factor(comm::Operation operation, int ranks);

}  // namespace gradus::bench
