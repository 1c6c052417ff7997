#include "gradus/env/mountain_car.h"

#include "gradus/core/error.h"
#include "gradus/env/options.h"

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
  take_options("mountaincar", options, {{"position", &car.position}, {"velocity", &car.velocity}});
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

std::optional<Frame> MountainCar::frame() const {
  return mountain_car_frame(car_.position, MountainCarState::kGoal);
}

Frame mountain_car_frame(double position, double goal) {
  constexpr double kLeft = MountainCarState::kLeft, kRight = MountainCarState::kRight;
  constexpr int kPieces = 90;
  const auto height = [](double x) { return 0.45 * std::sin(3 * x); };  // its slope is what pulls the car
  std::vector<Point> road;
  for (int i = 0; i <= kPieces; ++i) {
    const double x = kLeft + (kRight - kLeft) * i / kPieces;
    road.push_back({x, height(x)});
  }
  std::vector<Point> hill = road;
  hill.insert(hill.end(), {{kRight, -0.65}, {kLeft, -0.65}});

  Frame f{.left = kLeft, .bottom = -0.65, .width = kRight - kLeft, .height = 1.4, .seconds = 1.0 / 30};
  f.background = "#eaf3fb";
  const double flag = height(goal);
  const Pose car{.x = position, .y = height(position), .angle_rad = std::atan(1.35 * std::cos(3 * position))};
  f.shapes = {
      {polygon(std::move(hill), "#cfe3cf")},
      {line(std::move(road), "#5b8a66", 0.014)},
      {line({{goal, flag}, {goal, flag + 0.17}}, "#1f2a3a", 0.008)},
      {polygon({{goal, flag + 0.17}, {goal, flag + 0.11}, {goal + 0.085, flag + 0.14}}, "#e69f00")},
      {polygon({{-0.06, 0.03},
                {0.06, 0.03},
                {0.06, 0.058},
                {0.032, 0.064},
                {0.018, 0.088},
                {-0.03, 0.088},
                {-0.042, 0.064},
                {-0.06, 0.058}},
               "#d55e00"),
       car},
      {polygon({{-0.026, 0.081}, {0.014, 0.081}, {0.023, 0.064}, {-0.034, 0.064}}, "#eaf3fb"), car},
      {outlined(circle({-0.034, 0.026}, 0.017, "#c9d3de"), "#1f2a3a", 0.009), car},
      {outlined(circle({0.034, 0.026}, 0.017, "#c9d3de"), "#1f2a3a", 0.009), car},
  };
  return f;
}

}  // namespace gradus::env
