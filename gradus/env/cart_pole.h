// A pole on a cart that is pushed left or right. Barto, Sutton & Anderson 1983; the equations without friction of
// Florian 2005 ("Correct equations for the dynamics of the cart-pole system"); Gymnasium's CartPole-v1.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

#include "gradus/core/rng.h"
#include "gradus/env/env.h"

namespace gradus::env {

// Cart and pole: position of the cart in m, angle of the pole from upright in rad, and their rates.
struct CartPoleState {
  double x = 0, x_dot = 0, theta = 0, theta_dot = 0;

  static constexpr double kGravity = 9.8, kMassPole = 0.1, kMassTotal = 1.1, kHalfLength = 0.5;
  static constexpr double kForce = 10, kTau = 0.02;
  static constexpr double kFarthest = 2.4, kSteepest = 12 * 2 * std::numbers::pi / 360;

  // Pushes the cart for kTau seconds: 0 to the left, 1 to the right. Returns whether it left the track or the pole
  // fell.
  bool step(int64_t action) {
    constexpr double kMassLength = kMassPole * kHalfLength;
    const double force = action == 1 ? kForce : -kForce;
    const double cos_theta = std::cos(theta), sin_theta = std::sin(theta);
    const double push = (force + kMassLength * (theta_dot * theta_dot) * sin_theta) / kMassTotal;
    const double theta_acc = (kGravity * sin_theta - cos_theta * push) /
                             (kHalfLength * (4.0 / 3.0 - kMassPole * (cos_theta * cos_theta) / kMassTotal));
    const double x_acc = push - kMassLength * theta_acc * cos_theta / kMassTotal;
    x += kTau * x_dot;  // Euler: positions by the rates before the push
    x_dot += kTau * x_acc;
    theta += kTau * theta_dot;
    theta_dot += kTau * theta_acc;
    return x < -kFarthest || x > kFarthest || theta < -kSteepest || theta > kSteepest;
  }
  static CartPoleState start(Rng& rng);  // each within 0.05 of 0
};

// Observation [x, x_dot, theta, theta_dot], two actions, +1 a step, the last too.
class CartPole final : public Env {
 public:
  CartPole();
  const EnvSpec& spec() const override { return spec_; }
  // Knows the options `x`, `x_dot`, `theta` and `theta_dot`.
  Observation reset(std::optional<uint64_t> seed, const Options& options) override;
  StepResult step(std::span<const double> action) override;
  std::optional<Frame> frame() const override;

 private:
  void observe() { observation_ = {state_.x, state_.x_dot, state_.theta, state_.theta_dot}; }

  EnvSpec spec_;
  EpisodeRng episodes_;
  CartPoleState state_;
  std::array<double, 4> observation_{};
  bool over_ = true;
};

}  // namespace gradus::env
