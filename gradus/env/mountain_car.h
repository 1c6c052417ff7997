// An underpowered car between two hills. Moore 1990; Sutton & Barto, 2nd ed., example 10.1; Gymnasium's MountainCar-v0.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "gradus/core/rng.h"
#include "gradus/env/env.h"

namespace gradus::env {

// The car itself: what linear learners step directly, millions of times a second.
struct MountainCarState {
  double position = -0.5, velocity = 0;

  static constexpr double kLeft = -1.2, kGoal = 0.5, kFastest = 0.07;
  static constexpr double kRight = 0.6;  // of the observation space

  // Throttle by action: 0 back, 1 none, 2 forward. Returns whether the goal is reached.
  bool step(int64_t action) {
    velocity += 0.001 * static_cast<double>(action - 1) - 0.0025 * std::cos(3 * position);
    velocity = std::clamp(velocity, -kFastest, kFastest);
    position = std::clamp(position + velocity, kLeft, kRight);
    if (position == kLeft && velocity < 0) velocity = 0;
    return position >= kGoal && velocity >= 0;
  }
  static MountainCarState start(Rng& rng) { return {.position = -0.6 + 0.2 * rng.uniform(), .velocity = 0}; }
};

// Observation [position, velocity], three actions, -1 a step until the goal.
class MountainCar final : public Env {
 public:
  MountainCar();
  const EnvSpec& spec() const override { return spec_; }
  // Knows the options `position` and `velocity`.
  Observation reset(std::optional<uint64_t> seed, const Options& options) override;
  StepResult step(std::span<const double> action) override;
  std::optional<Frame> frame() const override;

 private:
  EnvSpec spec_;
  EpisodeRng episodes_;
  MountainCarState car_;
  std::array<double, 2> observation_{};
  bool over_ = true;
};

// The car between its hills, with a flag at the goal: the picture of both kinds of throttle.
Frame mountain_car_frame(double position, double goal);

}  // namespace gradus::env
