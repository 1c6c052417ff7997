#include "gradus/env/catalogue.h"

#include "gradus/core/edit_distance.h"
#include "gradus/core/error.h"
#include "gradus/env/acrobot.h"
#include "gradus/env/baird.h"
#include "gradus/env/binned_actions.h"
#include "gradus/env/cart_pole.h"
#include "gradus/env/finite_env.h"
#include "gradus/env/lunar_lander.h"
#include "gradus/env/mountain_car.h"
#include "gradus/env/mountain_car_continuous.h"
#include "gradus/env/pendulum.h"
#include "gradus/env/taxi.h"

namespace gradus::env {

namespace {

int64_t steps_of(const EnvConfig& c, int64_t own) {
  return c.max_episode_steps < 0 ? own : c.max_episode_steps;
}

std::unique_ptr<Env> finite(const EnvConfig& c, std::shared_ptr<const FiniteMdp> mdp, int64_t own_steps,
                            std::optional<double> threshold = {}) {
  return std::make_unique<FiniteEnv>(
      std::move(mdp),
      FiniteEnv::Config{.id = c.name, .max_episode_steps = steps_of(c, own_steps), .reward_threshold = threshold});
}

std::unique_ptr<Env> limited(const EnvConfig& c, std::unique_ptr<Env> env, int64_t own_steps) {
  const int64_t steps = steps_of(c, own_steps);
  if (steps == 0) return env;
  return std::make_unique<TimeLimit>(std::move(env), steps);
}

std::unique_ptr<Env> make_lander(const EnvConfig& c, LanderControl control) {
  return limited(c, std::make_unique<LunarLander>(c.lunarlander, control), 1000);
}

std::unique_ptr<Env> make_program(const EnvConfig& c) {
  auto env = std::make_unique<ProgramEnv>(c.name, c.program);
  const int64_t own = env->own_max_episode_steps();
  return limited(c, std::move(env), own);
}

}  // namespace

const std::vector<NamedEnvironment>& environments() {
  static const std::vector<NamedEnvironment> list = {
      {"grid", "to a target around forbidden cells; any map", "Zhao, chapter 1",
       [](const EnvConfig& c) { return finite(c, grid_world(c.grid), 0); }},
      {"walk", "a random walk along n states, to predict where it ends", "Sutton & Barto, example 6.2, section 7.1",
       [](const EnvConfig& c) { return finite(c, random_walk(c.walk), 0); }},
      {"cliff", "along a cliff, where exploring is dangerous", "Sutton & Barto, example 6.6; CliffWalking-v1",
       [](const EnvConfig& c) { return finite(c, cliff_walking(c.cliff), 0); }},
      {"windy", "across a grid with a wind", "Sutton & Barto, example 6.5",
       [](const EnvConfig& c) { return finite(c, windy_grid_world(c.windy), 0); }},
      {"blackjack", "stick or hit, from an infinite deck", "Sutton & Barto, example 5.1; Blackjack-v1",
       [](const EnvConfig& c) { return finite(c, blackjack(c.blackjack), 0); }},
      {"frozenlake", "across slippery ice with holes", "FrozenLake-v1",
       [](const EnvConfig& c) {
         const bool small = frozen_lake_steps(c.frozenlake) == 100;
         return finite(c, frozen_lake(c.frozenlake), frozen_lake_steps(c.frozenlake), small ? 0.70 : 0.85);
       }},
      {"taxi", "fetch a passenger and bring him to his hotel", "Dietterich 2000; Taxi-v3",
       [](const EnvConfig& c) { return finite(c, taxi(), 200, 8); }},
      {"bandit", "arms with normal rewards", "Sutton & Barto, section 2.3",
       [](const EnvConfig& c) { return finite(c, bandit(c.bandit), 0); }},
      {"baird", "seven states on which off-policy linear learning diverges", "Baird 1995; Sutton & Barto, example 11.1",
       [](const EnvConfig& c) { return finite(c, baird(), 1000); }},
      {"mountaincar", "an underpowered car between hills: continuous states, for linear values and networks",
       "Moore 1990; Sutton & Barto, example 10.1; MountainCar-v0",
       [](const EnvConfig& c) { return limited(c, std::make_unique<MountainCar>(), 200); }},
      {"mountaincar-continuous", "the underpowered car with a throttle of any strength",
       "Moore 1990; MountainCarContinuous-v0",
       [](const EnvConfig& c) { return limited(c, std::make_unique<MountainCarContinuous>(), 999); }},
      {"cartpole", "keep a pole upright on a cart", "Barto, Sutton & Anderson 1983; Florian 2005; CartPole-v1",
       [](const EnvConfig& c) { return limited(c, std::make_unique<CartPole>(), 500); }},
      {"pendulum", "swing a pendulum up by a weak torque, and hold it", "Pendulum-v1",
       [](const EnvConfig& c) { return limited(c, std::make_unique<Pendulum>(), 200); }},
      {"acrobot", "swing two links up by the joint between them", "Sutton 1996; Acrobot-v1",
       [](const EnvConfig& c) { return limited(c, std::make_unique<Acrobot>(), 500); }},
      {"lunarlander", "land a rocket between two flags by switching its engines on and off", "LunarLander-v3",
       [](const EnvConfig& c) { return make_lander(c, LanderControl::discrete); }},
      {"lunarlander-continuous", "land a rocket between two flags by its engines' throttles",
       "LunarLander-v3, continuous", [](const EnvConfig& c) { return make_lander(c, LanderControl::continuous); }},
  };
  return list;
}

namespace {

std::unique_ptr<Env> make_named(const EnvConfig& c) {
  if (names_program(c.name)) return make_program(c);
  std::vector<std::string_view> names;
  for (const NamedEnvironment& e : environments()) {
    if (e.name == c.name) return e.make(c);
    names.push_back(e.name);
  }
  fail(ErrorCode::invalid_argument, "environment '{}' is not known; did you mean '{}'? `gradus list envs` shows all",
       c.name, nearest_name(c.name, names));
}

}  // namespace

std::unique_ptr<Env> make_env(const EnvConfig& c) {
  require(c.max_episode_steps >= -1,
          "max_episode_steps is {}, but must be -1 (the environment's own), 0 (none) or more", c.max_episode_steps);
  std::unique_ptr<Env> env = make_named(c);
  if (c.action_bins == 0) return env;
  return std::make_unique<BinnedActions>(std::move(env), c.action_bins);
}

}  // namespace gradus::env
