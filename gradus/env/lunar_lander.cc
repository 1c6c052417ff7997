#include "gradus/env/lunar_lander.h"

#include <fmt/ranges.h>

#include <cmath>
#include <numbers>
#include <utility>

#include "gradus/core/error.h"
#include "gradus/env/options.h"

namespace gradus::env {

namespace {

constexpr double kStrongestPush = 1000;

Box observation_space() {
  constexpr double kTurn = 2 * std::numbers::pi;
  return {.low = {-2.5, -2.5, -10, -10, -kTurn, -10, 0, 0}, .high = {2.5, 2.5, 10, 10, kTurn, 10, 1, 1}};
}

Space action_space(LanderControl control) {
  if (control == LanderControl::discrete) return Discrete{.n = 4};
  return Box{.low = {-1, -1}, .high = {1, 1}};
}

}  // namespace

LunarLander::LunarLander(const LunarLanderConfig& config, LanderControl control)
    : config_(config),
      control_(control),
      spec_{.id = control == LanderControl::discrete ? "lunarlander" : "lunarlander-continuous",
            .observation_space = observation_space(),
            .action_space = action_space(control),
            .reward_threshold = 200},
      world_(std::make_unique<LanderWorld>(config, LanderStart{})) {}

LanderStart LunarLander::draw_start(Rng& rng) {
  LanderStart start;
  for (double& height : start.heights) height = LanderWorld::kHeight / 2 * rng.uniform();
  start.force_x = kStrongestPush * (2 * rng.uniform() - 1);
  start.force_y = kStrongestPush * (2 * rng.uniform() - 1);
  start.wind = rng.below(2 * 9999) - 9999;
  start.turbulence = rng.below(2 * 9999) - 9999;
  return start;
}

LanderEngines LunarLander::engines(LanderControl control, std::span<const double> action) {
  if (control == LanderControl::discrete) {
    return {.main = action[0] == 2 ? 1.0 : 0.0, .side = action[0] == 1 ? -1.0 : action[0] == 3 ? 1.0 : 0.0};
  }
  return {.main = action[0] > 0 ? (action[0] + 1) * 0.5 : 0, .side = std::abs(action[1]) > 0.5 ? action[1] : 0};
}

double LunarLander::shaping_of(const std::array<double, 8>& s) {
  return -100 * std::sqrt(s[0] * s[0] + s[1] * s[1]) - 100 * std::sqrt(s[2] * s[2] + s[3] * s[3]) -
         100 * std::abs(s[4]) + 10 * s[6] + 10 * s[7];
}

LunarLander::Outcome LunarLander::judge(const LanderWorld& world, const LanderEngines& engines, double& shaping) {
  const std::array<double, 8> s = world.observation();
  const double before = std::exchange(shaping, shaping_of(s));
  if (!world.awake()) return {.reward = 100, .terminated = true};
  if (world.crashed() || std::abs(s[0]) >= 1) return {.reward = -100, .terminated = true};
  return {.reward = shaping - before - engines.main * 0.30 - std::abs(engines.side) * 0.03, .terminated = false};
}

std::array<double, 2> LunarLander::draw_dispersion() {
  const double first = 2 * rng_.uniform() - 1;
  return {first, 2 * rng_.uniform() - 1};
}

// A new world for each episode: what happens in it then depends on nothing before.
Observation LunarLander::reset(std::optional<uint64_t> seed, const Options& options) {
  EpisodeRng episodes = episodes_;
  Rng rng = episodes.next(seed);
  LanderStart start = draw_start(rng);
  take_options(spec_.id, options, {{"force_x", &start.force_x}, {"force_y", &start.force_y}});
  require(std::abs(start.force_x) <= kStrongestPush && std::abs(start.force_y) <= kStrongestPush,
          "{}: reset: the push ({}, {}) is beyond {}", spec_.id, start.force_x, start.force_y, kStrongestPush);
  world_ = std::make_unique<LanderWorld>(config_, start);
  episodes_ = episodes;
  rng_ = rng;
  world_->step({}, draw_dispersion());
  observation_ = world_->observation();
  shaping_ = shaping_of(observation_);
  over_ = false;
  return observation_;
}

StepResult LunarLander::step(std::span<const double> action) {
  require(!over_, "{}: step: the episode is over; reset first", spec_.id);
  if (!contains(spec_.action_space, action)) {
    if (control_ == LanderControl::discrete) {
      fail(ErrorCode::invalid_argument, "lunarlander: step: the action {} is not 0, 1, 2 or 3",
           action.empty() ? 0.0 : action[0]);
    }
    fail(ErrorCode::invalid_argument, "lunarlander-continuous: step: the action [{}] is not two numbers in [-1, 1]",
         fmt::join(action, ", "));
  }
  const LanderEngines fired = engines(control_, action);
  world_->step(fired, draw_dispersion());
  observation_ = world_->observation();
  const Outcome outcome = judge(*world_, fired, shaping_);
  over_ = outcome.terminated;
  return {.observation = observation_, .reward = outcome.reward, .terminated = outcome.terminated};
}

std::optional<Frame> LunarLander::frame() const {
  return world_->frame();
}

}  // namespace gradus::env
