// The underpowered car of mountain_car.h with a throttle of any strength. Moore 1990; Gymnasium's
// MountainCarContinuous-v0, which keeps the car's state in float32.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>

#include "gradus/core/rng.h"
#include "gradus/env/env.h"

namespace gradus::env {

struct MountainCarContinuousState {
  float position = -0.5f, velocity = 0;

  static constexpr float kLeft = -1.2f, kRight = 0.6f, kGoal = 0.45f, kFastest = 0.07f, kPower = 0.0015f;

  // The throttle lies in [-1, 1]. Every operation rounds where Gymnasium's does. Returns whether the goal is reached.
  bool step(float throttle) {
    velocity += throttle * kPower - static_cast<float>(0.0025 * std::cos(static_cast<double>(3 * position)));
    velocity = std::clamp(velocity, -kFastest, kFastest);
    position = std::clamp(position + velocity, kLeft, kRight);
    if (position == kLeft && velocity < 0) velocity = 0;
    return position >= kGoal && velocity >= 0;
  }
  static MountainCarContinuousState start(Rng& rng) {
    return {.position = static_cast<float>(-0.6 + 0.2 * rng.uniform()), .velocity = 0};
  }
};

// Observation [position, velocity]; the action is the throttle u; -0.1 u^2 a step and +100 at the goal.
// Differs: Gymnasium makes the first step of an episode in doubles, from a start that is not rounded yet; here the
// start is in float32 already. The first step may differ in its last bit.
class MountainCarContinuous final : public Env {
 public:
  MountainCarContinuous();
  const EnvSpec& spec() const override { return spec_; }
  // Knows the options `position` and `velocity`, and rounds them to float32.
  Observation reset(std::optional<uint64_t> seed, const Options& options) override;
  StepResult step(std::span<const double> action) override;  // rounds the throttle to float32
  std::optional<Frame> frame() const override;

 private:
  void observe() { observation_ = {car_.position, car_.velocity}; }

  EnvSpec spec_;
  EpisodeRng episodes_;
  MountainCarContinuousState car_;
  std::array<double, 2> observation_{};
  bool over_ = true;
};

}  // namespace gradus::env
