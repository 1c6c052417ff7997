#include "gradus/env/binned_actions.h"

#include "gradus/env/catalogue.h"
#include "tests/core/expect_error.h"

namespace gradus::env {
namespace {

std::unique_ptr<Env> pendulum(int64_t action_bins) {
  EnvConfig c;
  c.name = "pendulum";
  c.action_bins = action_bins;
  return make_env(c);
}

TEST(BinnedActions, BinsAreEvenlySpacedFromBoundToBound) {
  const auto binned = pendulum(5), plain = pendulum(0);
  EXPECT_EQ(binned->spec().action_space, Space(Discrete{.n = 5}));
  binned->reset(3);
  plain->reset(3);
  for (const double k : {0.0, 4.0, 2.0, 1.0, 3.0}) {
    const double torque = k - 2;
    const StepResult a = binned->step({&k, 1}), b = plain->step({&torque, 1});
    EXPECT_EQ(a.reward, b.reward);
    EXPECT_TRUE(std::ranges::equal(a.observation, b.observation));
  }
}

TEST(BinnedActions, KeepsTheTimeLimitAndThePicture) {
  const auto env = pendulum(3);
  EXPECT_EQ(env->spec().max_episode_steps, 200);
  env->reset(1);
  EXPECT_TRUE(env->frame());
  const double none = 1;
  for (int i = 1; i < 200; ++i) ASSERT_FALSE(env->step({&none, 1}).truncated);
  EXPECT_TRUE(env->step({&none, 1}).truncated);
}

TEST(BinnedActions, RefusesWhatIsNoChoice) {
  const auto env = pendulum(3);
  env->reset(1);
  for (const double a : {-1.0, 3.0, 0.5})
    EXPECT_GRADUS_ERROR(env->step({&a, 1}), invalid_argument, "is not in Discrete(3)");
  EXPECT_GRADUS_ERROR(env->step({}), invalid_argument, "action");
}

TEST(BinnedActions, NeedsOneNumberBetweenBounds) {
  for (const char* name : {"cartpole", "grid", "lunarlander-continuous"}) {
    EnvConfig c;
    c.name = name;
    c.action_bins = 3;
    EXPECT_GRADUS_ERROR(make_env(c), invalid_argument, "must be one number");
  }
  EXPECT_GRADUS_ERROR(pendulum(1), invalid_argument, "at least 2");
  EXPECT_GRADUS_ERROR(pendulum(-2), invalid_argument, "at least 2");
}

}  // namespace
}  // namespace gradus::env
