// An environment for tests whose episodes end soon and by chance, in every way: terminated, truncated, both. Its start
// is random, and what it shows and pays depends on the action.
#pragma once

#include <array>

#include "gradus/core/error.h"
#include "gradus/env/env.h"

namespace gradus::env {

class RandomEndsEnv : public Env {
 public:
  const EnvSpec& spec() const override { return spec_; }

  Observation reset(std::optional<uint64_t> seed, const Options&) override {
    rng_ = episodes_.next(seed);
    over_ = false;
    observation_ = {rng_.normal(), 0};
    return observation_;
  }

  StepResult step(std::span<const double> action) override {
    require(!over_, "random-ends: step: the episode is over; reset first");
    require(contains(spec_.action_space, action), "random-ends: step: the action is outside");
    observation_ = {observation_[0] + action[0], rng_.uniform()};
    const bool terminated = rng_.below(5) == 0, truncated = rng_.below(7) == 0;
    over_ = terminated || truncated;
    return {.observation = observation_,
            .reward = observation_[0] * observation_[1],
            .terminated = terminated,
            .truncated = truncated};
  }

 protected:
  static constexpr double kAnything = 1e9;
  EnvSpec spec_{.id = "random-ends",
                .observation_space = Box{.low = {-kAnything, 0}, .high = {kAnything, 1}},
                .action_space = Discrete{.n = 3, .start = -1}};
  EpisodeRng episodes_;
  Rng rng_{0, Purpose::environment};
  std::array<double, 2> observation_{};
  bool over_ = true;
};

}  // namespace gradus::env
