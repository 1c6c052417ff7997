#include "gradus/env/env.h"

#include <array>

#include "gradus/env/mountain_car.h"
#include "tests/core/expect_error.h"

namespace gradus::env {
namespace {

constexpr std::array<double, 1> kNoThrottle = {1}, kForward = {2};

TimeLimit limited_car(int64_t max_episode_steps) {
  return {std::make_unique<MountainCar>(), max_episode_steps};
}

TEST(TimeLimit, TruncatesAtTheLastStepAndNotBefore) {
  TimeLimit env = limited_car(3);
  env.reset(1, {});
  EXPECT_FALSE(env.step(kNoThrottle).truncated);
  EXPECT_FALSE(env.step(kNoThrottle).truncated);
  const StepResult last = env.step(kNoThrottle);
  EXPECT_TRUE(last.truncated);
  EXPECT_FALSE(last.terminated);
}

TEST(TimeLimit, BothMayBeTrueAtTheLastStep) {
  TimeLimit env = limited_car(1);
  env.reset(1, {{"position", 0.49}, {"velocity", 0.05}});
  const StepResult last = env.step(kForward);
  EXPECT_TRUE(last.truncated);
  EXPECT_TRUE(last.terminated);
}

TEST(TimeLimit, CountsAnewInEachEpisode) {
  TimeLimit env = limited_car(2);
  for (int episode = 0; episode < 3; ++episode) {
    env.reset({}, {});
    EXPECT_FALSE(env.step(kNoThrottle).truncated);
  }
}

TEST(TimeLimit, RefusesAStepAfterTruncation) {
  TimeLimit env = limited_car(1);
  env.reset(1, {});
  env.step(kNoThrottle);
  EXPECT_GRADUS_ERROR(env.step(kNoThrottle), invalid_argument, "mountaincar: step: the episode is over; reset first");
}

TEST(TimeLimit, PassesOnTheSeedAndTheOptions) {
  TimeLimit env = limited_car(10);
  MountainCar car;
  EXPECT_EQ(env.reset(7, {})[0], car.reset(7, {})[0]);
  EXPECT_EQ(env.reset({}, {{"position", 0.25}})[0], 0.25);
}

TEST(TimeLimit, TheSpecTellsTheLimitAndKeepsTheRest) {
  const TimeLimit env = limited_car(10);
  const MountainCar car;
  EXPECT_EQ(env.spec().max_episode_steps, 10);
  EXPECT_EQ(env.spec().id, car.spec().id);
  EXPECT_EQ(env.spec().observation_space, car.spec().observation_space);
  EXPECT_EQ(env.spec().reward_threshold, car.spec().reward_threshold);
}

TEST(TimeLimit, RefusesALimitBelowOne) {
  EXPECT_GRADUS_ERROR(limited_car(0), invalid_argument, "mountaincar: max_episode_steps is 0, but must be at least 1");
}

TEST(EpisodeRng, NamesAStreamBySeedAndEpisode) {
  EpisodeRng episodes;
  episodes.next(9);
  Rng second = episodes.next({});
  EXPECT_EQ(second.bits64(), Rng(9, Purpose::environment, 1).bits64());
}

}  // namespace
}  // namespace gradus::env
