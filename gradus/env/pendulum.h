// A pendulum to swing up by a torque too weak to lift it. Gymnasium's Pendulum-v1: a rod of mass m = 1 kg and length
// l = 1 m in gravity g = 10 m/s^2.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "gradus/core/rng.h"
#include "gradus/env/env.h"

namespace gradus::env {

// Angle from upright, counterclockwise and never wrapped, in rad; its rate.
struct PendulumState {
  double theta = std::numbers::pi, theta_dot = 0;

  static constexpr double kGravity = 10, kMass = 1, kLength = 1, kDt = 0.05;
  static constexpr double kFastest = 8, kStrongest = 2;

  // Turns with the torque u [-2, 2] N m for kDt seconds:
  //   theta'' = 3 g / (2 l) sin theta + 3 / (m l^2) u
  // Returns the reward, of the state before: -(theta^2 + 0.1 theta'^2 + 0.001 u^2), theta within [-pi, pi).
  double step(double u) {
    const double off = from_upright();
    const double cost = off * off + 0.1 * (theta_dot * theta_dot) + 0.001 * (u * u);
    const double acceleration = 3 * kGravity / (2 * kLength) * std::sin(theta) + 3.0 / (kMass * kLength * kLength) * u;
    theta_dot = std::clamp(theta_dot + acceleration * kDt, -kFastest, kFastest);
    theta += theta_dot * kDt;
    return -cost;
  }
  double from_upright() const {
    constexpr double kTurn = 2 * std::numbers::pi;
    const double angle = std::fmod(theta + std::numbers::pi, kTurn);
    return (angle < 0 ? angle + kTurn : angle) - std::numbers::pi;
  }
  static PendulumState start(Rng& rng);  // theta within pi of 0, theta_dot within 1
};

// Observation [cos theta, sin theta, theta_dot]; the action is the torque. Nothing ends it but a time limit.
// Differs: Gymnasium rounds 3 u and 0.001 u^2 to float32 where the action is one; here all is double.
class Pendulum final : public Env {
 public:
  Pendulum();
  const EnvSpec& spec() const override { return spec_; }
  // Knows the options `theta` and `theta_dot`.
  Observation reset(std::optional<uint64_t> seed, const Options& options) override;
  StepResult step(std::span<const double> action) override;
  std::optional<Frame> frame() const override;

 private:
  void observe() { observation_ = {std::cos(state_.theta), std::sin(state_.theta), state_.theta_dot}; }

  EnvSpec spec_;
  EpisodeRng episodes_;
  PendulumState state_;
  double torque_ = 0;  // the last, for the picture
  std::array<double, 3> observation_{};
  bool begun_ = false;
};

}  // namespace gradus::env
