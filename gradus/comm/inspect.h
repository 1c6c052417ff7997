// The ranks of a run seen from outside: what their monitors (monitor.h) left in RUN/comm, and what /proc says of those
// on this host. Nothing in a rank has to answer, so stopped and hung ones show too.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace gradus::comm {

struct RankReport {
  int rank = 0, size = 0;
  pid_t pid = 0;
  std::string host, transport;
  int restarts = 0;   // of the job
  std::string state;  // running, stopped, gone; failed and left as its last report says; elsewhere that of the report
  int64_t resident_bytes = 0;  // of a live process of this host
  pid_t parent = 0;
  uint64_t sequence = 0;  // the last collective call that it began
  bool in_flight = false;
  std::string call, algorithm, error;  // "" where there is none
  double since_s = 0;                  // seconds of the epoch: when the report last changed
};

// By rank. Throws not_found when no ranks reported there, corrupt when a report cannot be understood.
std::vector<RankReport> ranks_of_run(const std::filesystem::path& run_dir);

// Who keeps the others waiting: ranks that have not begun the call that some others have been in for more than
// `patience_s`. Empty when all is well.
std::vector<int> missing_ranks(const std::vector<RankReport>& ranks, double now_s, double patience_s = 2.0);

}  // namespace gradus::comm
