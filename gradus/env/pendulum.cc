#include "gradus/env/pendulum.h"

#include "gradus/core/error.h"
#include "gradus/env/options.h"

namespace gradus::env {

PendulumState PendulumState::start(Rng& rng) {
  PendulumState s;
  s.theta = std::numbers::pi * (2 * rng.uniform() - 1);
  s.theta_dot = 2 * rng.uniform() - 1;
  return s;
}

Pendulum::Pendulum()
    : spec_{
          .id = "pendulum",
          .observation_space = Box{.low = {-1, -1, -PendulumState::kFastest}, .high = {1, 1, PendulumState::kFastest}},
          .action_space = Box{.low = {-PendulumState::kStrongest}, .high = {PendulumState::kStrongest}}} {}

Observation Pendulum::reset(std::optional<uint64_t> seed, const Options& options) {
  EpisodeRng episodes = episodes_;
  Rng rng = episodes.next(seed);
  PendulumState s = PendulumState::start(rng);
  take_options("pendulum", options, {{"theta", &s.theta}, {"theta_dot", &s.theta_dot}});
  require(std::abs(s.theta_dot) <= PendulumState::kFastest, "pendulum: reset: theta_dot {} is beyond {}", s.theta_dot,
          PendulumState::kFastest);
  episodes_ = episodes;
  state_ = s;
  torque_ = 0;
  observe();
  begun_ = true;
  return observation_;
}

StepResult Pendulum::step(std::span<const double> action) {
  require(begun_, "pendulum: step: no episode has begun; reset first");
  require(contains(spec_.action_space, action), "pendulum: step: the torque {} is outside [-2, 2]",
          action.empty() ? 0.0 : action[0]);
  torque_ = action[0];
  const double reward = state_.step(torque_);
  observe();
  return {.observation = observation_, .reward = reward};
}

namespace {

// Three quarters of a circle with an arrow's head, counterclockwise, or its mirror image.
std::vector<Look> torque_arrow(double sign) {
  constexpr double kRadius = 0.62;
  constexpr int kPieces = 24;
  std::vector<Point> arc;
  for (int i = 0; i <= kPieces; ++i) {
    const double a = std::numbers::pi * (-0.25 + 1.5 * i / kPieces);
    arc.push_back({sign * kRadius * std::cos(a), kRadius * std::sin(a)});
  }
  const Point tip = arc.back();  // where the arc runs to the right and down
  std::vector<Look> arrow = {line(std::move(arc), "#e69f00", 0.045)};
  const Point forward{sign * std::numbers::sqrt2 / 2, -std::numbers::sqrt2 / 2}, aside{-forward.y, forward.x};
  const auto at = [&](double f, double s) {
    return Point{tip.x + f * forward.x + s * aside.x, tip.y + f * forward.y + s * aside.y};
  };
  arrow.push_back(polygon({at(0.16, 0), at(-0.02, 0.1), at(-0.02, -0.1)}, "#e69f00"));
  return arrow;
}

}  // namespace

std::optional<Frame> Pendulum::frame() const {
  Frame f{.left = -1.3, .bottom = -1.3, .width = 2.6, .height = 2.6, .seconds = PendulumState::kDt};
  f.background = "#f4f7fb";
  f.shapes = {{outlined(circle({0, 0}, 1, ""), "#dde5ee", 0.02)}};
  for (const double sign : {1.0, -1.0}) {
    const Pose pose{.scale = std::max(0.0, sign * torque_) / PendulumState::kStrongest};
    for (Look& look : torque_arrow(sign)) f.shapes.push_back({std::move(look), pose});
  }
  const Pose rod{.angle_rad = state_.theta};
  f.shapes.push_back({line({{0, 0}, {0, PendulumState::kLength}}, "#b5443c", 0.16), rod});
  f.shapes.push_back({line({{0, 0.02}, {0, PendulumState::kLength - 0.02}}, "#d9665c", 0.1), rod});
  f.shapes.push_back({circle({0, 0}, 0.04, "#1f2a3a")});
  return f;
}

}  // namespace gradus::env
