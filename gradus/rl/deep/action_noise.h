// What a deterministic policy adds to its actions to try others, in units of their range (action_units.h).
#pragma once

#include <cstdint>
#include <span>

#include "gradus/core/rng.h"
#include "gradus/core/safetensors.h"
#include "gradus/rl/deep/off_policy_config.h"

namespace gradus::rl {

// gaussian: each e ~ N(0, sigma^2).
// ornstein-uhlenbeck: e <- e - theta e dt + sigma sqrt(dt) N(0, 1), which stays near what it was. Uhlenbeck & Ornstein
// 1930, by Euler's steps as in Lillicrap et al. 2016, section 7. Its variance comes to
// sigma^2 dt / (1 - (1 - theta dt)^2), and its correlation over k steps is (1 - theta dt)^k.
class ActionNoise {
 public:
  ActionNoise(const NoiseConfig& config, int64_t n_envs, int64_t action_size);

  // The next of an environment, with `factor` sigma: [action_size], valid until its next.
  std::span<const double> next(int64_t env, double factor, Rng& rng);
  // At an episode's end: begins at 0 again.
  void reset(int64_t env);

  // e, for checkpoints, shared.   [n_envs, action_size] f64
  Tensor& state() { return e_; }

 private:
  std::span<double> of(int64_t env) {
    return e_.span<double>().subspan(static_cast<size_t>(env * e_.dim(1)), static_cast<size_t>(e_.dim(1)));
  }

  double keep_, deviation_;  // e <- keep e + deviation N(0, 1)
  Tensor e_;
};

}  // namespace gradus::rl
