// What the sampled tables of the textbooks share: many seeds of one training, and errors of their values.
#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>
#include <vector>

#include "gradus/rl/trial.h"

namespace gradus::bench {

using rl::rms_error;

inline std::vector<rl::Trial> trials_of(const env::FiniteEnv& env, std::string_view algorithm,
                                        const rl::LearnerConfig& config, int64_t seeds) {
  std::vector<rl::Trial> trials;
  for (int64_t s = 1; s <= seeds; ++s) trials.emplace_back(env, algorithm, config, static_cast<uint64_t>(s));
  return trials;
}

// The book's number is a mean over as many seeds as ours, with about the same error: their difference has sqrt(2) times
// that of ours.
inline double three_standard_errors(const rl::MeanOfSeeds& m) {
  return 3 * std::sqrt(2.0) * m.standard_error;
}

}  // namespace gradus::bench
