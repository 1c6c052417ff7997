// `gradus bench exact RUN`: the rollouts of a run against the training pass of its own checkpoints.
#pragma once

#include <filesystem>
#include <string>

#include "bench/bench.h"
#include "bench/exact_check.h"

namespace gradus::bench {

// The instruction set that the run was made on, by record.json. Throws not_found when `directory` is no run, corrupt.
std::string recorded_isa(const std::filesystem::path& directory);

// Rows:
//   recorded  for each kept checkpoint whose next iteration is in the log: the log-probabilities that training stored
//             then, on the instruction set of the run (left out where this machine lacks it)
//   sampled   every stored prompt, sampled again with the latest checkpoint
// Reads only; a run that is going on may be looked at. Throws not_found (no run, no checkpoint, no rollouts), corrupt,
// io.
void exact_run(const std::filesystem::path& directory, const Sink& sink, ExactTotals& totals);

}  // namespace gradus::bench
