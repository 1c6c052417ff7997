// The ranks of a bench, on this machine: threads, or processes that are forked.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bench/bench.h"
#include "gradus/comm/group.h"

namespace gradus::bench {

// threads (of this process), shm and tcp (processes). The caller is rank 0.
const std::vector<std::string>& rank_transports();

// body(group) on each of `ranks` ranks at once. When it throws on one of them, the others are aborted; throws what rank
// 0 threw, or who did first among threads. Processes are forks: of what body() changes they only have copies, and no
// other thread may run meanwhile; the compute threads are set to one for each rank. Throws invalid_argument when there
// is no such transport, exhausted when there is no room for the processes, and what comm::connect does.
void run_ranks(const std::string& transport, int ranks, const std::function<void(comm::Group&)>& body);

// The ranks of the options: their job's, in which this process is one and calls body() once, or new ones.
void run_ranks(const AllreduceOptions& options, const std::function<void(comm::Group&)>& body);

// Has this process the results, once run_ranks() is over?
inline bool is_first_rank(const AllreduceOptions& options) {
  return options.job == nullptr || options.job->rank() == 0;
}

}  // namespace gradus::bench
