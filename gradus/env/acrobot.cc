#include "gradus/env/acrobot.h"

#include <algorithm>

#include "gradus/core/error.h"
#include "gradus/env/options.h"

namespace gradus::env {

namespace {

constexpr double kPi = std::numbers::pi;

double wrapped(double angle) {
  while (angle > kPi) angle -= 2 * kPi;
  while (angle < -kPi) angle += 2 * kPi;
  return angle;
}

AcrobotState moved(const AcrobotState& s, double dt, const AcrobotState& rates) {
  return {.theta1 = s.theta1 + dt * rates.theta1,
          .theta2 = s.theta2 + dt * rates.theta2,
          .dtheta1 = s.dtheta1 + dt * rates.dtheta1,
          .dtheta2 = s.dtheta2 + dt * rates.dtheta2};
}

}  // namespace

// The form of the book; the paper's lacks the term with dtheta1^2 in ddtheta2.
AcrobotState AcrobotState::rates(double torque) const {
  const double cos2 = std::cos(theta2), sin2 = std::sin(theta2);
  const double d1 = m1 * (lc1 * lc1) + m2 * (l1 * l1 + lc2 * lc2 + 2 * l1 * lc2 * cos2) + I1 + I2;
  const double d2 = m2 * (lc2 * lc2 + l1 * lc2 * cos2) + I2;
  const double phi2 = m2 * lc2 * kGravity * std::cos(theta1 + theta2 - kPi / 2);
  const double phi1 = -m2 * l1 * lc2 * (dtheta2 * dtheta2) * sin2 - 2 * m2 * l1 * lc2 * dtheta2 * dtheta1 * sin2 +
                      (m1 * lc1 + m2 * l1) * kGravity * std::cos(theta1 - kPi / 2) + phi2;
  const double ddtheta2 = (torque + d2 / d1 * phi1 - m2 * l1 * lc2 * (dtheta1 * dtheta1) * sin2 - phi2) /
                          (m2 * (lc2 * lc2) + I2 - d2 * d2 / d1);
  const double ddtheta1 = -(d2 * ddtheta2 + phi1) / d1;
  return {.theta1 = dtheta1, .theta2 = dtheta2, .dtheta1 = ddtheta1, .dtheta2 = ddtheta2};
}

bool AcrobotState::step(int64_t action) {
  const auto torque = static_cast<double>(action - 1);
  const AcrobotState k1 = rates(torque);
  const AcrobotState k2 = moved(*this, kDt / 2, k1).rates(torque);
  const AcrobotState k3 = moved(*this, kDt / 2, k2).rates(torque);
  const AcrobotState k4 = moved(*this, kDt, k3).rates(torque);
  const auto ahead = [&](double AcrobotState::*x) {
    return this->*x + kDt / 6 * (k1.*x + 2 * k2.*x + 2 * k3.*x + k4.*x);
  };
  *this = {.theta1 = wrapped(ahead(&AcrobotState::theta1)),
           .theta2 = wrapped(ahead(&AcrobotState::theta2)),
           .dtheta1 = std::clamp(ahead(&AcrobotState::dtheta1), -kFastest1, kFastest1),
           .dtheta2 = std::clamp(ahead(&AcrobotState::dtheta2), -kFastest2, kFastest2)};
  return -std::cos(theta1) - std::cos(theta2 + theta1) > 1;
}

AcrobotState AcrobotState::start(Rng& rng) {
  AcrobotState s;
  for (double* number : {&s.theta1, &s.theta2, &s.dtheta1, &s.dtheta2}) {
    *number = static_cast<float>(-0.1 + 0.2 * rng.uniform());
  }
  return s;
}

Acrobot::Acrobot()
    : spec_{.id = "acrobot",
            .observation_space = Box{.low = {-1, -1, -1, -1, -AcrobotState::kFastest1, -AcrobotState::kFastest2},
                                     .high = {1, 1, 1, 1, AcrobotState::kFastest1, AcrobotState::kFastest2}},
            .action_space = Discrete{.n = 3},
            .reward_threshold = -100} {}

Observation Acrobot::reset(std::optional<uint64_t> seed, const Options& options) {
  EpisodeRng episodes = episodes_;
  Rng rng = episodes.next(seed);
  AcrobotState s = AcrobotState::start(rng);
  take_options("acrobot", options,
               {{"theta1", &s.theta1}, {"theta2", &s.theta2}, {"dtheta1", &s.dtheta1}, {"dtheta2", &s.dtheta2}});
  require(std::abs(s.theta1) <= kPi && std::abs(s.theta2) <= kPi, "acrobot: reset: theta1 {} or theta2 {} is beyond pi",
          s.theta1, s.theta2);
  require(std::abs(s.dtheta1) <= AcrobotState::kFastest1 && std::abs(s.dtheta2) <= AcrobotState::kFastest2,
          "acrobot: reset: dtheta1 {} is beyond 4 pi or dtheta2 {} beyond 9 pi", s.dtheta1, s.dtheta2);
  episodes_ = episodes;
  state_ = s;
  observe();
  over_ = false;
  return observation_;
}

StepResult Acrobot::step(std::span<const double> action) {
  require(!over_, "acrobot: step: the episode is over; reset first");
  require(contains(spec_.action_space, action), "acrobot: step: the action {} is not 0, 1 or 2",
          action.empty() ? 0.0 : action[0]);
  over_ = state_.step(static_cast<int64_t>(action[0]));
  observe();
  return {.observation = observation_, .reward = over_ ? 0.0 : -1.0, .terminated = over_};
}

void Acrobot::observe() {
  observation_ = {std::cos(state_.theta1), std::sin(state_.theta1), std::cos(state_.theta2),
                  std::sin(state_.theta2), state_.dtheta1,          state_.dtheta2};
}

std::optional<Frame> Acrobot::frame() const {
  Frame f{.left = -2.3, .bottom = -2.3, .width = 4.6, .height = 4.6, .seconds = AcrobotState::kDt / 2};
  f.background = "#f4f7fb";
  const Pose upper{.angle_rad = state_.theta1};
  const Pose lower{
      .x = std::sin(state_.theta1), .y = -std::cos(state_.theta1), .angle_rad = state_.theta1 + state_.theta2};
  const auto link = [](std::string_view colour, double width) { return line({{0, 0}, {0, -1}}, colour, width); };
  f.shapes = {
      {line({{-2.3, 1}, {2.3, 1}}, "#e69f00", 0.035)},
      {link("#17708f", 0.24), upper},
      {link("#2a9fc9", 0.17), upper},
      {link("#17708f", 0.22), lower},
      {link("#56b4e9", 0.15), lower},
      {circle({0, 0}, 0.07, "#1f2a3a")},
      {circle({0, 0}, 0.06, "#1f2a3a"), lower},
      {outlined(circle({0, -1}, 0.075, "#e69f00"), "#1f2a3a", 0.025), lower},
  };
  return f;
}

}  // namespace gradus::env
