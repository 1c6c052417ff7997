#include "gradus/env/mountain_car_continuous.h"

#include "gradus/core/error.h"
#include "gradus/env/mountain_car.h"
#include "gradus/env/options.h"

namespace gradus::env {

using State = MountainCarContinuousState;

MountainCarContinuous::MountainCarContinuous()
    : spec_{.id = "mountaincar-continuous",
            .observation_space = Box{.low = {State::kLeft, -State::kFastest}, .high = {State::kRight, State::kFastest}},
            .action_space = Box{.low = {-1}, .high = {1}},
            .reward_threshold = 90} {}

Observation MountainCarContinuous::reset(std::optional<uint64_t> seed, const Options& options) {
  EpisodeRng episodes = episodes_;
  Rng rng = episodes.next(seed);
  State car = State::start(rng);
  double position = car.position, velocity = car.velocity;
  take_options("mountaincar-continuous", options, {{"position", &position}, {"velocity", &velocity}});
  car = {.position = static_cast<float>(position), .velocity = static_cast<float>(velocity)};
  require(contains(spec_.observation_space, std::array<double, 2>{car.position, car.velocity}),
          "mountaincar-continuous: reset: position {} and velocity {} are outside", position, velocity);
  episodes_ = episodes;
  car_ = car;
  observe();
  over_ = false;
  return observation_;
}

StepResult MountainCarContinuous::step(std::span<const double> action) {
  require(!over_, "mountaincar-continuous: step: the episode is over; reset first");
  require(contains(spec_.action_space, action), "mountaincar-continuous: step: the throttle {} is outside [-1, 1]",
          action.empty() ? 0.0 : action[0]);
  const auto throttle = static_cast<float>(action[0]);
  over_ = car_.step(throttle);
  observe();
  const double fuel = static_cast<double>(throttle) * throttle * 0.1;
  return {.observation = observation_, .reward = (over_ ? 100 : 0) - fuel, .terminated = over_};
}

std::optional<Frame> MountainCarContinuous::frame() const {
  return mountain_car_frame(car_.position, State::kGoal);
}

}  // namespace gradus::env
