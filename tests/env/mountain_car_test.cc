#include "gradus/env/mountain_car.h"

#include <array>
#include <cmath>

#include "tests/core/expect_error.h"

namespace gradus::env {
namespace {

constexpr std::array<double, 1> kBack = {0}, kNone = {1}, kForward = {2};

// Gymnasium's step, from Moore's equations (Sutton & Barto, 2nd ed., example 10.1).
struct Equations {
  double x, v;
  bool step(int throttle) {
    v += (throttle - 1) * 0.001 + std::cos(3 * x) * -0.0025;
    v = v < -0.07 ? -0.07 : v > 0.07 ? 0.07 : v;
    x += v;
    x = x < -1.2 ? -1.2 : x > 0.6 ? 0.6 : x;
    if (x == -1.2 && v < 0) v = 0;
    return x >= 0.5;
  }
};

TEST(MountainCar, FollowsTheEquationsUnderAnyThrottle) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    MountainCar env;
    const Observation first = env.reset(seed, {});
    Equations car{first[0], first[1]};
    Rng rng(seed, Purpose::test);
    for (int t = 0; t < 500; ++t) {
      const auto throttle = static_cast<int>(rng.below(3));
      const StepResult r = env.step(std::array{static_cast<double>(throttle)});
      const bool ends = car.step(throttle);
      ASSERT_NEAR(r.observation[0], car.x, 1e-12) << seed << " " << t;
      ASSERT_NEAR(r.observation[1], car.v, 1e-12) << seed << " " << t;
      ASSERT_EQ(r.terminated, ends);
      if (ends) break;
    }
  }
}

// Goldens: the equations in Python's doubles.
struct Golden {
  int t;
  double position, velocity;
};

TEST(MountainCar, TheEngineAloneIsTooWeak) {
  MountainCarState car;
  int t = 0;
  for (const Golden& g : {Golden{1, -0.49917684300416926, 0.0008231569958307428},
                          {2, -0.49753668667935325, 0.0016401563248160246},
                          {10, -0.4576895848965753, 0.007254692062725155},
                          {50, -0.31846478881797813, -0.007623632792237611},
                          {200, -0.2965991815988749, -0.005983565045918341}}) {
    for (; t < g.t; ++t) EXPECT_FALSE(car.step(2));
    EXPECT_NEAR(car.position, g.position, 1e-12) << t;
    EXPECT_NEAR(car.velocity, g.velocity, 1e-12) << t;
  }
}

TEST(MountainCar, ThrottleAlongTheVelocityReachesTheGoalIn124Steps) {
  MountainCarState car;
  int t = 0;
  for (const Golden& g : {Golden{25, -0.32277017818204196, 0.008285748125949144},
                          {50, -0.44202962309144084, -0.026966047969384028},
                          {75, -1.1152472492143186, -0.013513900309160845},
                          {100, -0.7639775069315924, 0.050535671171945094},
                          {124, 0.5349499825655736, 0.04819097792866507}}) {
    for (; t < g.t; ++t) EXPECT_EQ(car.step(car.velocity >= 0 ? 2 : 0), t + 1 == 124);
    EXPECT_NEAR(car.position, g.position, 1e-12) << t;
    EXPECT_NEAR(car.velocity, g.velocity, 1e-12) << t;
  }
}

TEST(MountainCar, TheWallOnTheLeftStopsTheCar) {
  MountainCarState car{.position = -1, .velocity = -0.07};
  for (int t = 0; t < 3; ++t) car.step(0);
  EXPECT_EQ(car.position, -1.2);
  EXPECT_EQ(car.velocity, 0);
  car.step(0);
  EXPECT_NEAR(car.position, -1.1987581039591646, 1e-12);
}

TEST(MountainCar, TheCarIsNeverFasterThanItMayBe) {
  MountainCarState car{.position = 0.4, .velocity = -0.07};
  car.step(0);
  EXPECT_GE(car.velocity, -0.07);
  for (int t = 0; t < 10; ++t) {
    car.step(0);
    EXPECT_LE(std::abs(car.velocity), 0.07);
  }
}

TEST(MountainCar, BeyondTheGoalButOnTheWayBackItGoesOn) {
  MountainCarState car{.position = 0.55, .velocity = -0.01};
  EXPECT_FALSE(car.step(2));
}

TEST(MountainCar, EachStepCostsOneAndTheLastToo) {
  MountainCar env;
  env.reset(1, {{"position", 0.45}, {"velocity", 0.04}});
  EXPECT_EQ(env.step(kForward).reward, -1);
  const StepResult last = env.step(kForward);
  EXPECT_EQ(last.reward, -1);
  EXPECT_TRUE(last.terminated);
  EXPECT_FALSE(last.truncated);
}

TEST(MountainCar, StartsBetweenMinusSixAndMinusFourTenthsAtRest) {
  MountainCar env;
  env.reset(1, {});
  constexpr int kEpisodes = 20000;
  double sum = 0, least = 0, greatest = -1;
  for (int i = 0; i < kEpisodes; ++i) {
    const Observation first = env.reset({}, {});
    EXPECT_EQ(first[1], 0);
    sum += first[0];
    least = std::min(least, first[0]);
    greatest = std::max(greatest, first[0]);
  }
  EXPECT_GE(least, -0.6);
  EXPECT_LT(greatest, -0.4);
  EXPECT_NEAR(least, -0.6, 1e-3);
  EXPECT_NEAR(greatest, -0.4, 1e-3);
  EXPECT_NEAR(sum / kEpisodes, -0.5, 5 * 0.2 / std::sqrt(12.0 * kEpisodes));
}

TEST(MountainCar, TheSameSeedGivesTheSameStarts) {
  MountainCar a, b;
  EXPECT_EQ(a.reset(3, {})[0], b.reset(3, {})[0]);
  EXPECT_EQ(a.reset({}, {})[0], b.reset({}, {})[0]);
  EXPECT_NE(a.reset(4, {})[0], b.reset(3, {})[0]);
}

TEST(MountainCar, TheSpacesAreGymnasiums) {
  const MountainCar env;
  EXPECT_EQ(env.spec().observation_space, Space(Box{.low = {-1.2, -0.07}, .high = {0.6, 0.07}}));
  EXPECT_EQ(env.spec().action_space, Space(Discrete{.n = 3}));
  EXPECT_EQ(env.spec().reward_threshold, -110);
}

TEST(MountainCar, AnEpisodeBeginsWhereTheOptionsSay) {
  MountainCar env;
  const Observation first = env.reset({}, {{"position", -1}, {"velocity", 0.05}});
  EXPECT_EQ(first[0], -1);
  EXPECT_EQ(first[1], 0.05);
}

TEST(MountainCar, RefusesAnotherOption) {
  MountainCar env;
  EXPECT_GRADUS_ERROR(env.reset({}, {{"speed", 0}}), invalid_argument, "mountaincar: reset: no option 'speed'");
}

TEST(MountainCar, RefusesAStartOutside) {
  MountainCar env;
  EXPECT_GRADUS_ERROR(env.reset({}, {{"position", 0.7}}), invalid_argument, "mountaincar: reset: position 0.7");
  EXPECT_GRADUS_ERROR(env.reset({}, {{"velocity", -0.1}}), invalid_argument, "velocity -0.1 are outside");
}

TEST(MountainCar, ARefusedResetChangesNothing) {
  MountainCar env;
  env.reset({}, {{"position", -0.5}});
  EXPECT_THROW(env.reset({}, {{"position", 0.7}}), Error);
  EXPECT_NEAR(env.step(kForward).observation[0], -0.49917684300416926, 1e-12);
}

TEST(MountainCar, RefusesAnActionOutsideTheSpace) {
  MountainCar env;
  env.reset(1, {});
  for (const std::vector<double>& action : {std::vector<double>{3}, {-1}, {0.5}, {}, {0, 0}}) {
    EXPECT_GRADUS_ERROR(env.step(action), invalid_argument, "is not 0, 1 or 2");
  }
}

TEST(MountainCar, RefusesAStepWhereNoEpisodeIs) {
  MountainCar env;
  EXPECT_GRADUS_ERROR(env.step(kNone), invalid_argument, "mountaincar: step: the episode is over; reset first");
  env.reset(1, {{"position", 0.5}, {"velocity", 0.07}});
  env.step(kBack);
  EXPECT_GRADUS_ERROR(env.step(kNone), invalid_argument, "the episode is over; reset first");
}

}  // namespace
}  // namespace gradus::env
