// CartPole, Pendulum, Acrobot and the car with continuous throttle, beside their trajectories (trajectory_test.cc).
#include <cmath>
#include <limits>

#include "gradus/env/acrobot.h"
#include "gradus/env/cart_pole.h"
#include "gradus/env/mountain_car_continuous.h"
#include "gradus/env/pendulum.h"
#include "tests/core/expect_error.h"

namespace gradus::env {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity(), kPi = std::numbers::pi;
const double kNan = std::nan("");

// Mean and range of each number that an episode begins with.
struct Starts {
  std::vector<double> least, greatest, mean;
};

template <class State, class Numbers>
Starts starts_of(Numbers numbers) {
  constexpr int kEpisodes = 20000;
  Starts s;
  for (uint64_t i = 0; i < kEpisodes; ++i) {
    Rng rng(1, Purpose::environment, i);
    const std::vector<double> x = numbers(State::start(rng));
    s.least.resize(x.size(), kInfinity);
    s.greatest.resize(x.size(), -kInfinity);
    s.mean.resize(x.size());
    for (size_t k = 0; k < x.size(); ++k) {
      s.least[k] = std::min(s.least[k], x[k]);
      s.greatest[k] = std::max(s.greatest[k], x[k]);
      s.mean[k] += x[k] / kEpisodes;
    }
  }
  return s;
}

// Uniform between the bounds: 20000 draws come within a thousandth of each, and their mean within 0.01 of the middle.
void expect_uniform(const Starts& s, const std::vector<double>& low, const std::vector<double>& high) {
  for (size_t k = 0; k < low.size(); ++k) {
    const double width = high[k] - low[k];
    EXPECT_GE(s.least[k], low[k] - 1e-8) << k;
    EXPECT_LE(s.greatest[k], high[k] + 1e-8) << k;
    EXPECT_NEAR(s.least[k], low[k], 1e-3 * width) << k;
    EXPECT_NEAR(s.greatest[k], high[k], 1e-3 * width) << k;
    EXPECT_NEAR(s.mean[k], (low[k] + high[k]) / 2, 0.01 * width) << k;
  }
}

TEST(CartPole, StartsWithinATwentiethOfUpright) {
  const auto numbers = [](const CartPoleState& s) { return std::vector{s.x, s.x_dot, s.theta, s.theta_dot}; };
  expect_uniform(starts_of<CartPoleState>(numbers), std::vector(4, -0.05), std::vector(4, 0.05));
}

TEST(Pendulum, StartsAtAnyAngle) {
  const auto numbers = [](const PendulumState& s) { return std::vector{s.theta, s.theta_dot}; };
  expect_uniform(starts_of<PendulumState>(numbers), {-kPi, -1}, {kPi, 1});
}

TEST(Acrobot, StartsHangingAlmostStillInFloat32) {
  const auto numbers = [](const AcrobotState& s) { return std::vector{s.theta1, s.theta2, s.dtheta1, s.dtheta2}; };
  expect_uniform(starts_of<AcrobotState>(numbers), std::vector(4, -0.1), std::vector(4, 0.1));
  Rng rng(1, Purpose::environment);
  const AcrobotState s = AcrobotState::start(rng);
  EXPECT_EQ(s.theta2, static_cast<float>(s.theta2));
}

TEST(MountainCarContinuous, StartsBetweenMinusSixAndMinusFourTenthsAtRest) {
  const auto numbers = [](const MountainCarContinuousState& s) { return std::vector<double>{s.position}; };
  expect_uniform(starts_of<MountainCarContinuousState>(numbers), {-0.6}, {-0.4});
}

TEST(CartPole, ThePoleThatStandsStaysBalancedOnlyByChance) {
  CartPoleState s;  // upright and at rest: the push to the right tips it to the left
  s.step(1);
  EXPECT_EQ(s.theta, 0);
  EXPECT_LT(s.theta_dot, 0);
  EXPECT_GT(s.x_dot, 0);
}

TEST(CartPole, EachStepPaysOneAndTheLastToo) {
  CartPole env;
  env.reset(1, {{"theta", 0.2}, {"theta_dot", 1}});
  const StepResult last = env.step(std::array{0.0});
  EXPECT_EQ(last.reward, 1);
  EXPECT_TRUE(last.terminated);
  EXPECT_TRUE(contains(env.spec().observation_space, last.observation));
}

// Energy of a rod about its end: 1/6 l^2 theta'^2 m + m g l / 2 cos theta.
TEST(Pendulum, KeepsItsEnergyOverAShortWhileWithoutTorque) {
  PendulumState s{.theta = 2, .theta_dot = 0};
  const auto energy = [](const PendulumState& p) {
    return p.theta_dot * p.theta_dot / 6 + PendulumState::kGravity / 2 * std::cos(p.theta);
  };
  const double before = energy(s);
  for (int t = 0; t < 40; ++t) {
    s.step(0);
    EXPECT_NEAR(energy(s), before, 0.6);  // of 10 between top and bottom; semi-implicit Euler keeps it on average
  }
}

TEST(Pendulum, ItsAngleFromUprightIsWithinHalfATurn) {
  for (const double turns : {-3.0, -1.0, 0.0, 2.0}) {
    EXPECT_NEAR((PendulumState{.theta = 0.5 + 2 * kPi * turns}.from_upright()), 0.5, 1e-12);
  }
  EXPECT_EQ((PendulumState{.theta = kPi}.from_upright()), -kPi);
}

TEST(Pendulum, NothingEndsIt) {
  Pendulum env;
  env.reset(1, {});
  for (int t = 0; t < 1000; ++t) EXPECT_FALSE(env.step(std::array{2.0}).terminated);
}

TEST(Acrobot, HangingStillItStaysThere) {
  AcrobotState s;
  for (int t = 0; t < 100; ++t) EXPECT_FALSE(s.step(1));
  EXPECT_NEAR(s.theta1, 0, 1e-12);
  EXPECT_NEAR(s.theta2, 0, 1e-12);
}

TEST(Acrobot, PaysNothingAtTheEnd) {
  Acrobot env;
  env.reset(1, {{"theta1", 3}, {"theta2", 0.1}, {"dtheta1", 0}, {"dtheta2", 0}});
  const StepResult last = env.step(std::array{1.0});
  EXPECT_TRUE(last.terminated);
  EXPECT_EQ(last.reward, 0);
}

TEST(MountainCarContinuous, TheGoalPaysAHundredLessTheFuel) {
  MountainCarContinuous env;
  env.reset(1, {{"position", 0.44}, {"velocity", 0.05}});
  const StepResult last = env.step(std::array{0.5});
  EXPECT_TRUE(last.terminated);
  EXPECT_NEAR(last.reward, 100 - 0.025, 1e-12);
}

template <class E>
void expect_refusals(std::string_view name, const std::vector<std::vector<double>>& actions, const char* message) {
  SCOPED_TRACE(name);
  E env;
  EXPECT_THROW(env.step(std::array{0.0}), Error) << name;  // no episode yet
  EXPECT_GRADUS_ERROR(env.reset(1, {{"speed", 1}}), invalid_argument,
                      fmt::format("{}: reset: no option 'speed'", name));
  EXPECT_THROW(env.step(std::array{0.0}), Error) << name;
  const Observation first = env.reset(1, {});
  const std::vector<double> before(first.begin(), first.end());
  for (const std::vector<double>& action : actions) {
    EXPECT_GRADUS_ERROR(env.step(action), invalid_argument, message);
  }
  E other;
  other.reset(1, {});
  EXPECT_EQ(env.step(std::array{1.0}).observation[0], other.step(std::array{1.0}).observation[0]);  // nothing changed
}

TEST(ClassicControl, RefusesActionsOutsideTheSpaceAndUnknownOptions) {
  expect_refusals<CartPole>("cartpole", {{2}, {-1}, {0.5}, {kNan}, {}, {0, 0}}, "is not 0 or 1");
  expect_refusals<Acrobot>("acrobot", {{3}, {-1}, {0.5}, {kNan}, {}, {0, 0}}, "is not 0, 1 or 2");
  expect_refusals<Pendulum>("pendulum", {{2.01}, {-kInfinity}, {kNan}, {}, {0, 0}}, "is outside [-2, 2]");
  expect_refusals<MountainCarContinuous>("mountaincar-continuous", {{1.01}, {-kInfinity}, {kNan}, {}, {0, 0}},
                                         "is outside [-1, 1]");
}

TEST(ClassicControl, RefusesStartsOutside) {
  CartPole cart;
  EXPECT_GRADUS_ERROR(cart.reset(1, {{"x", 5}}), invalid_argument, "cartpole: reset: x 5");
  EXPECT_GRADUS_ERROR(cart.reset(1, {{"x_dot", kNan}}), invalid_argument, "option 'x_dot' is nan");
  Pendulum pendulum;
  EXPECT_GRADUS_ERROR(pendulum.reset(1, {{"theta_dot", 9}}), invalid_argument, "theta_dot 9 is beyond 8");
  Acrobot acrobot;
  EXPECT_GRADUS_ERROR(acrobot.reset(1, {{"theta2", 4}}), invalid_argument, "theta2 4 is beyond pi");
  EXPECT_GRADUS_ERROR(acrobot.reset(1, {{"dtheta1", 13}}), invalid_argument, "dtheta1 13 is beyond 4 pi");
  MountainCarContinuous car;
  EXPECT_GRADUS_ERROR(car.reset(1, {{"position", 1}}), invalid_argument, "position 1 and velocity");
}

}  // namespace
}  // namespace gradus::env
