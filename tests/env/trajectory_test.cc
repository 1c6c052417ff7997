// Episodes of Gymnasium, step by step: tests/fixtures/env, written by tools/oracle/make_env_trajectories.py.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "gradus/core/json.h"
#include "gradus/env/acrobot.h"
#include "gradus/env/cart_pole.h"
#include "gradus/env/lunar_lander.h"
#include "gradus/env/mountain_car.h"
#include "gradus/env/mountain_car_continuous.h"
#include "gradus/env/pendulum.h"

namespace gradus::env {
namespace {

nlohmann::json fixture(std::string_view name) {
  const std::string path = fmt::format("{}/tests/fixtures/env/{}.json", GRADUS_SOURCE_DIR, name);
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return parse_json(text.str(), path);
}

std::vector<double> numbers(const nlohmann::json& value) {
  if (value.is_number()) return {value.get<double>()};
  return value.get<std::vector<double>>();
}

// Exact on the machine where this was written. Gymnasium's observations are float32; its own state is compared to
// 1e-9, since another libm's last bit would grow along an episode.
void expect_episode(Env& env, const nlohmann::json& episode, double tolerance) {
  const size_t n = episode["actions"].size();
  Observation observation = env.reset(0, episode["start"].get<Options>());
  const auto expect_observation = [&](size_t t) {
    const std::vector<double> golden = numbers(episode["observations"][t]);
    ASSERT_EQ(observation.size(), golden.size());
    for (size_t i = 0; i < golden.size(); ++i) {
      const auto ulp =
          static_cast<double>(std::nextafter(static_cast<float>(std::abs(golden[i])), 1e9f)) - std::abs(golden[i]);
      ASSERT_NEAR(static_cast<float>(observation[i]), static_cast<float>(golden[i]), 1.5 * ulp) << t << " " << i;
    }
  };
  expect_observation(0);
  for (size_t t = 0; t < n; ++t) {
    const StepResult r = env.step(numbers(episode["actions"][t]));
    observation = r.observation;
    expect_observation(t + 1);
    ASSERT_NEAR(r.reward, episode["rewards"][t].get<double>(), tolerance) << t;
    ASSERT_EQ(r.terminated, t + 1 == n && episode["terminated"].get<bool>()) << t;
  }
}

// One environment for all episodes of the fixture, so that none leaves anything behind for the next.
void expect_fixture(std::string_view name, Env& env, double tolerance = 1e-9) {
  for (const nlohmann::json& episode : fixture(name)) {
    SCOPED_TRACE(fmt::format("{}, {} steps from {}", name, episode["actions"].size(), episode["start"].dump()));
    expect_episode(env, episode, tolerance);
  }
}

TEST(Trajectory, CartPoleIsGymnasiums) {
  CartPole env;
  expect_fixture("cartpole", env);
}

TEST(Trajectory, PendulumIsGymnasiums) {
  Pendulum env;
  expect_fixture("pendulum", env);
}

// There Gymnasium computes a part in float32: 1e-9 a step in the reward.
TEST(Trajectory, PendulumIsGymnasiumsWithActionsOfFloat32) {
  Pendulum env;
  expect_fixture("pendulum-float32", env, 1e-8);
}

TEST(Trajectory, AcrobotIsGymnasiums) {
  Acrobot env;
  expect_fixture("acrobot", env);
}

TEST(Trajectory, MountainCarIsGymnasiums) {
  MountainCar env;
  expect_fixture("mountaincar", env);
}

TEST(Trajectory, MountainCarContinuousIsGymnasiums) {
  MountainCarContinuous env;
  expect_fixture("mountaincar-continuous", env);
}

std::vector<double> state_of(const CartPoleState& s) {
  return {s.x, s.x_dot, s.theta, s.theta_dot};
}
std::vector<double> state_of(const PendulumState& s) {
  return {s.theta, s.theta_dot};
}
std::vector<double> state_of(const AcrobotState& s) {
  return {s.theta1, s.theta2, s.dtheta1, s.dtheta2};
}
std::vector<double> state_of(const MountainCarState& s) {
  return {s.position, s.velocity};
}
std::vector<double> state_of(const MountainCarContinuousState& s) {
  return {s.position, s.velocity};
}

// The state itself, which Gymnasium keeps in all its digits.
//   begin   the state of the numbers in an episode's `start`
//   step    moves it by an action
template <class Begin, class Step>
void expect_states(std::string_view name, Begin begin, Step step) {
  for (const nlohmann::json& episode : fixture(name)) {
    const nlohmann::json& start = episode["start"];
    auto s = begin([&](const char* key) { return start[key].get<double>(); });
    size_t t = 0;
    for (const nlohmann::json& golden : episode["states"]) {
      for (; t < golden[0].get<size_t>(); ++t) step(s, episode["actions"][t].get<double>());
      const std::vector<double> x = state_of(s), wanted = numbers(golden[1]);
      for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], wanted[i], 1e-9) << name << " " << t << " " << i;
    }
  }
}

TEST(Trajectory, StatesAreGymnasiumsInAllTheirDigits) {
  const auto choose = [](auto& s, double action) { s.step(static_cast<int64_t>(action)); };
  const auto push = [](auto& s, double action) { s.step(static_cast<float>(action)); };
  expect_states(
      "cartpole",
      [](auto at) {
        return CartPoleState{at("x"), at("x_dot"), at("theta"), at("theta_dot")};
      },
      choose);
  expect_states(
      "pendulum",
      [](auto at) {
        return PendulumState{at("theta"), at("theta_dot")};
      },
      [](PendulumState& s, double torque) { s.step(torque); });
  expect_states(
      "acrobot",
      [](auto at) {
        return AcrobotState{at("theta1"), at("theta2"), at("dtheta1"), at("dtheta2")};
      },
      choose);
  expect_states(
      "mountaincar",
      [](auto at) {
        return MountainCarState{at("position"), at("velocity")};
      },
      choose);
  expect_states(
      "mountaincar-continuous",
      [](auto at) {
        return MountainCarContinuousState{static_cast<float>(at("position")), static_cast<float>(at("velocity"))};
      },
      push);
}

// Box2D 2.4 solves the limits and motors of the legs' joints otherwise than 2.3, which shakes the hull a little; with
// the same numbers drawn all else is the same until a leg meets the ground. Seen: positions 2e-5, velocities 5e-4,
// angle 3e-4, angular velocity 8e-3, reward 0.035, of rewards around 1.
TEST(Trajectory, LunarLanderFliesAsGymnasiums) {
  constexpr std::array<double, 8> kTolerance = {3e-5, 3e-5, 1e-3, 1e-3, 6e-4, 1.5e-2, 0, 0};
  for (const nlohmann::json& episode : fixture("lunarlander")) {
    const auto control = episode["continuous"].get<bool>() ? LanderControl::continuous : LanderControl::discrete;
    const auto dispersions = episode["dispersions"].get<std::vector<std::array<double, 2>>>();
    const nlohmann::json& start = episode["start"];
    LanderWorld world({}, {.heights = start["heights"].get<std::array<double, 12>>(),
                           .force_x = start["force"][0].get<double>(),
                           .force_y = start["force"][1].get<double>()});
    const auto expect_observation = [&](size_t t) {
      const std::vector<double> golden = numbers(episode["observations"][t]);
      for (size_t i = 0; i < 8; ++i) ASSERT_NEAR(world.observation()[i], golden[i], kTolerance[i]) << t << " " << i;
    };
    world.step({}, dispersions[0]);
    expect_observation(0);
    double shaping = LunarLander::shaping_of(world.observation());
    for (size_t t = 0; t < episode["actions"].size(); ++t) {
      const LanderEngines engines = LunarLander::engines(control, numbers(episode["actions"][t]));
      world.step(engines, dispersions[t + 1]);
      expect_observation(t + 1);
      ASSERT_NEAR(LunarLander::judge(world, engines, shaping).reward, episode["rewards"][t].get<double>(), 0.07) << t;
    }
  }
}

}  // namespace
}  // namespace gradus::env
