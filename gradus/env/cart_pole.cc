#include "gradus/env/cart_pole.h"

#include <limits>

#include "gradus/core/error.h"
#include "gradus/env/options.h"

namespace gradus::env {

CartPoleState CartPoleState::start(Rng& rng) {
  CartPoleState s;
  for (double* number : {&s.x, &s.x_dot, &s.theta, &s.theta_dot}) *number = -0.05 + 0.1 * rng.uniform();
  return s;
}

namespace {

// Twice the limits, so that the state in which an episode ends lies inside.
Box observation_space() {
  constexpr double kAny = std::numeric_limits<double>::infinity();
  constexpr double kX = 2 * CartPoleState::kFarthest, kTheta = 2 * CartPoleState::kSteepest;
  return {.low = {-kX, -kAny, -kTheta, -kAny}, .high = {kX, kAny, kTheta, kAny}};
}

}  // namespace

CartPole::CartPole()
    : spec_{.id = "cartpole",
            .observation_space = observation_space(),
            .action_space = Discrete{.n = 2},
            .reward_threshold = 475} {}

Observation CartPole::reset(std::optional<uint64_t> seed, const Options& options) {
  EpisodeRng episodes = episodes_;
  Rng rng = episodes.next(seed);
  CartPoleState s = CartPoleState::start(rng);
  take_options("cartpole", options,
               {{"x", &s.x}, {"x_dot", &s.x_dot}, {"theta", &s.theta}, {"theta_dot", &s.theta_dot}});
  require(contains(spec_.observation_space, std::array{s.x, s.x_dot, s.theta, s.theta_dot}),
          "cartpole: reset: x {} or theta {} is outside", s.x, s.theta);
  episodes_ = episodes;
  state_ = s;
  observe();
  over_ = false;
  return observation_;
}

StepResult CartPole::step(std::span<const double> action) {
  require(!over_, "cartpole: step: the episode is over; reset first");
  require(contains(spec_.action_space, action), "cartpole: step: the action {} is not 0 or 1",
          action.empty() ? 0.0 : action[0]);
  over_ = state_.step(static_cast<int64_t>(action[0]));
  observe();
  return {.observation = observation_, .reward = 1, .terminated = over_};
}

std::optional<Frame> CartPole::frame() const {
  constexpr double kEnd = CartPoleState::kFarthest, kTop = 0.15;  // of the cart
  Frame f{.left = -2.7, .bottom = -0.45, .width = 5.4, .height = 1.9, .seconds = CartPoleState::kTau};
  f.background = "#f4f7fb";
  const Pose cart{.x = state_.x}, pole{.x = state_.x, .y = kTop - 0.05, .angle_rad = -state_.theta};
  f.shapes = {
      {box({-2.7, -0.45}, {2.7, -0.24}, "#dde5ee")},
      {line({{-2.7, -0.24}, {2.7, -0.24}}, "#8c9bab", 0.02)},
      {box({-kEnd - 0.02, -0.24}, {-kEnd + 0.02, -0.06}, "#d55e00")},
      {box({kEnd - 0.02, -0.24}, {kEnd + 0.02, -0.06}, "#d55e00")},
      {outlined(circle({-0.16, -0.17}, 0.07, "#ffffff"), "#1f2a3a", 0.035), cart},
      {outlined(circle({0.16, -0.17}, 0.07, "#ffffff"), "#1f2a3a", 0.035), cart},
      {outlined(box({-0.28, -0.13}, {0.28, kTop}, "#26547c"), "#1f2a3a", 0.02), cart},
      {line({{0, 0}, {0, 2 * CartPoleState::kHalfLength}}, "#c98f4e", 0.09), pole},
      {circle({0, 0}, 0.045, "#f4f7fb"), pole},
  };
  return f;
}

}  // namespace gradus::env
