// What both halves of `gradus bench exact` share: sampling whose record can be compared with the training pass, and the
// control.
#pragma once

#include <span>
#include <vector>

#include "gradus/lm/sampler.h"
#include "gradus/posttrain/rollout.h"

namespace gradus::bench {

// Rollouts without problems and rewards: prompt and sampled tokens, and the log-probabilities that the sampler
// recorded.
std::vector<posttrain::Rollout> sample_rollouts(lm::Model& model, std::span<const lm::SampleRequest> requests,
                                                const lm::SamplerConfig& config);

int64_t response_tokens(std::span<const posttrain::Rollout> rollouts);

// mismatch_max after one weight of the model (the first gain of the last norm) moved by one unit in the last place, of
// the format that the matrices have (in fp64 by 16 of float); the model is left as it was. 0 would mean that the check
// sees nothing.
double control_one_ulp(lm::Model& model, std::span<const posttrain::Rollout> rollouts, double temperature,
                       int64_t max_rows);

// `bench exact RUN`. Appends what it found to the totals.
struct ExactTotals {
  double mismatch_max = 0;
  bool samples_equal = true;
  double control_min = -1;  // -1: no control yet

  void add_mismatch(double mismatch);
  void add_control(double control);
  bool ok() const { return mismatch_max == 0 && samples_equal && control_min > 0; }
};

}  // namespace gradus::bench
