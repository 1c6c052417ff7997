// The cases that the tests of linear values share: Zhao's grid world under the uniform policy, and the mountain car.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>

#include "gradus/core/rng.h"
#include "gradus/env/env.h"
#include "gradus/env/finite_env.h"
#include "gradus/env/grid_world.h"
#include "gradus/rl/coordinates.h"
#include "gradus/rl/linear/features.h"
#include "gradus/rl/linear/oracles.h"
#include "gradus/rl/tabular/dynamic_programming.h"

namespace gradus::rl {

// Zhao's figures 8.6 to 8.8: rewards -1, -1, 1; the target is not terminal; gamma 0.9.
struct UniformGrid {
  std::shared_ptr<const env::FiniteMdp> mdp = env::grid_world({});
  Table pi = uniform_policy(25, 5);
  Coordinates at = coordinates_of(*mdp);

  LinearOracle oracle(const Features& features) const {
    return LinearOracle(*mdp, pi, feature_matrix(features, at.points), stationary_distribution(*mdp, pi), 0.9);
  }
};

// Sutton & Barto, 2nd ed., example 10.1.
class MountainCarCase final : public env::Env {
 public:
  explicit MountainCarCase(uint64_t seed) : rng_(seed, Purpose::environment) {}
  const env::EnvSpec& spec() const override { return spec_; }
  env::Observation reset(std::optional<uint64_t>, const env::Options&) override {
    s_[0] = -0.6 + 0.2 * rng_.uniform();
    s_[1] = 0;
    return s_;
  }
  env::StepResult step(std::span<const double> action) override {
    s_[1] = std::clamp(s_[1] + 0.001 * (action[0] - 1) - 0.0025 * std::cos(3 * s_[0]), -0.07, 0.07);
    s_[0] = std::clamp(s_[0] + s_[1], -1.2, 0.5);
    if (s_[0] == -1.2) s_[1] = 0;
    return {.observation = s_, .reward = -1, .terminated = s_[0] == 0.5};
  }

 private:
  env::EnvSpec spec_{.id = "mountain car",
                     .observation_space = env::Box{.low = {-1.2, -0.07}, .high = {0.5, 0.07}},
                     .action_space = env::Discrete{.n = 3}};
  Rng rng_;
  double s_[2] = {0, 0};
};

}  // namespace gradus::rl
