// Two links that hang from a joint, with a motor between them: swing the tip above the line. Sutton 1996; Sutton &
// Barto, 1st ed., section 11.3, whose equations Gymnasium's Acrobot-v1 integrates.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

#include "gradus/core/rng.h"
#include "gradus/env/env.h"

namespace gradus::env {

// Angle of the first link from hanging, of the second from the first, in rad, counterclockwise; their rates.
struct AcrobotState {
  double theta1 = 0, theta2 = 0, dtheta1 = 0, dtheta2 = 0;

  static constexpr double kGravity = 9.8, kDt = 0.2;
  static constexpr double m1 = 1, m2 = 1, l1 = 1, lc1 = 0.5, lc2 = 0.5, I1 = 1, I2 = 1;  // masses, lengths, inertias
  static constexpr double kFastest1 = 4 * std::numbers::pi, kFastest2 = 9 * std::numbers::pi;

  // One Runge-Kutta step of fourth order. Torque by action: 0 -1 N m, 1 none, 2 +1 N m. Returns whether the tip is
  // more than a link's length above the joint.
  bool step(int64_t action);
  AcrobotState rates(double torque) const;  // the state's time derivative
  static AcrobotState start(Rng& rng);      // each within 0.1 of 0, in float32's digits as Gymnasium has them
};

// Observation [cos theta1, sin theta1, cos theta2, sin theta2, dtheta1, dtheta2], three actions, -1 a step, 0 at the
// end.
class Acrobot final : public Env {
 public:
  Acrobot();
  const EnvSpec& spec() const override { return spec_; }
  // Knows the options `theta1`, `theta2`, `dtheta1` and `dtheta2`.
  Observation reset(std::optional<uint64_t> seed, const Options& options) override;
  StepResult step(std::span<const double> action) override;
  std::optional<Frame> frame() const override;

 private:
  void observe();

  EnvSpec spec_;
  EpisodeRng episodes_;
  AcrobotState state_;
  std::array<double, 6> observation_{};
  bool over_ = true;
};

}  // namespace gradus::env
