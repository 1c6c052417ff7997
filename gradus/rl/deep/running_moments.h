// Mean and deviation of all that was seen so far, to bring observations or rewards to unit scale.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "gradus/core/safetensors.h"
#include "gradus/rl/tabular/table.h"

namespace gradus::rl {

// Of rows of n numbers, in double. Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance", eq.
// (2.1): batches are merged by their own mean and sum of squares.
class RunningMoments {
 public:
  explicit RunningMoments(int64_t n) : moments_(3, n) {}

  // Adds a batch of rows.   rows [n_rows * n]
  void add(std::span<const double> rows);

  double mean(size_t i) const { return moments_(0, static_cast<int64_t>(i)); }
  double variance(size_t i) const;  // of the population; 1 until something was added

  // For checkpoints.
  Table& table() { return moments_; }

 private:
  Table moments_;  // rows: mean, sum of squared deviations, count
};

}  // namespace gradus::rl
