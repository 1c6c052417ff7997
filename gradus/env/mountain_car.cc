#include "gradus/env/mountain_car.h"

#include "gradus/core/error.h"

namespace gradus::env {

MountainCar::MountainCar()
    : spec_{.id = "mountaincar",
            .observation_space = Box{.low = {MountainCarState::kLeft, -MountainCarState::kFastest},
                                     .high = {MountainCarState::kRight, MountainCarState::kFastest}},
            .action_space = Discrete{.n = 3},
            .max_episode_steps = 0,
            .reward_threshold = -110} {}

Observation MountainCar::reset(std::optional<uint64_t> seed, const Options& options) {
  EpisodeRng episodes = episodes_;
  Rng rng = episodes.next(seed);
  MountainCarState car = MountainCarState::start(rng);
  for (const auto& [key, value] : options) {
    require(key == "position" || key == "velocity",
            "mountaincar: reset: no option '{}'; position and velocity are known", key);
    (key == "position" ? car.position : car.velocity) = value;
  }
  require(contains(spec_.observation_space, std::array{car.position, car.velocity}),
          "mountaincar: reset: position {} and velocity {} are outside", car.position, car.velocity);
  episodes_ = episodes;
  car_ = car;
  observation_ = {car.position, car.velocity};
  over_ = false;
  return observation_;
}

StepResult MountainCar::step(std::span<const double> action) {
  require(!over_, "mountaincar: step: the episode is over; reset first");
  require(contains(spec_.action_space, action), "mountaincar: step: the action {} is not 0, 1 or 2",
          action.empty() ? 0.0 : action[0]);
  over_ = car_.step(static_cast<int64_t>(action[0]));
  observation_ = {car_.position, car_.velocity};
  return {.observation = observation_, .reward = -1, .terminated = over_};
}

}  // namespace gradus::env
