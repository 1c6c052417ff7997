#include "gradus/env/bandit.h"

#include <cmath>
#include <limits>

#include "gradus/env/finite_env.h"
#include "tests/core/expect_error.h"
#include "tests/env/outcomes.h"

namespace gradus::env {
namespace {

double value_of(const FiniteMdp& mdp, int64_t arm) {
  return mdp.expected_reward(0, arm);
}

TEST(Bandit, APullEndsTheEpisode) {
  const auto mdp = bandit({.arms = 10});
  EXPECT_EQ(mdp->n_actions(), 10);
  EXPECT_EQ(mdp->start()[0], 1);
  for (int64_t arm = 0; arm < 10; ++arm) {
    ASSERT_EQ(mdp->outcomes(0, arm).size(), 1U);
    EXPECT_TRUE(mdp->outcomes(0, arm)[0].terminated);
  }
}

TEST(Bandit, APullVariesByTheDeviation) {
  const auto mdp = bandit({.arms = 3, .deviation = 0.5});
  for (int64_t arm = 0; arm < 3; ++arm) EXPECT_EQ(mdp->outcomes(0, arm)[0].deviation, 0.5);
}

TEST(Bandit, ValuesOfArmsAreNormal) {
  constexpr int64_t kArms = 100000;
  const auto mdp = bandit({.arms = kArms, .mean = 4});
  double sum = 0, squares = 0;
  int within_one = 0;
  for (int64_t arm = 0; arm < kArms; ++arm) {
    const double x = value_of(*mdp, arm) - 4;
    sum += x;
    squares += x * x;
    within_one += std::abs(x) < 1 ? 1 : 0;
  }
  EXPECT_NEAR(sum / kArms, 0, 0.02);
  EXPECT_NEAR(squares / kArms, 1, 0.03);
  EXPECT_NEAR(static_cast<double>(within_one) / kArms, 0.6827, 0.01);
}

TEST(Bandit, TheSeedNamesTheValues) {
  const auto a = bandit({.seed = 2}), b = bandit({.seed = 2}), other = bandit({.seed = 3});
  for (int64_t arm = 0; arm < 10; ++arm) {
    EXPECT_EQ(value_of(*a, arm), value_of(*b, arm));
    EXPECT_NE(value_of(*a, arm), value_of(*other, arm));
  }
}

TEST(Bandit, MoreArmsKeepTheValuesOfTheFirst) {
  const auto few = bandit({.arms = 3}), many = bandit({.arms = 30});
  for (int64_t arm = 0; arm < 3; ++arm) EXPECT_EQ(value_of(*few, arm), value_of(*many, arm));
}

// A seed that names the arms may name the episodes, too; the noise of the pulls must not be the arms' values again.
TEST(Bandit, ValuesOfArmsShareNoRandomNumbersWithEpisodes) {
  const auto mdp = bandit({.seed = 1});
  Rng first_episode(1, Purpose::environment, 0);
  EXPECT_NE(value_of(*mdp, 0), first_episode.normal());
}

TEST(Bandit, TheMeanOfPullsIsTheArmsValue) {
  FiniteEnv env(bandit({}), {.id = "bandit"});
  Rng rng(1, Purpose::test);
  constexpr int kPulls = 50000;
  double sum = 0;
  for (int i = 0; i < kPulls; ++i) {
    env.begin(rng);
    sum += env.move(4, rng).reward;
  }
  EXPECT_NEAR(sum / kPulls, value_of(env.mdp(), 4), 5 / std::sqrt(kPulls));
}

TEST(Bandit, RefusesSettingsThatCannotBe) {
  EXPECT_GRADUS_ERROR(bandit({.arms = 0}), invalid_argument, "bandit: 0 arms, but there must be 1 to a million");
  EXPECT_GRADUS_ERROR(bandit({.deviation = -1}), invalid_argument, "bandit: deviation is -1");
  EXPECT_GRADUS_ERROR(bandit({.seed = -1}), invalid_argument, "bandit: seed is -1");
  EXPECT_GRADUS_ERROR(bandit({.mean = std::numeric_limits<double>::quiet_NaN()}), invalid_argument,
                      "arms, arm 1: a reward is nan");
}

}  // namespace
}  // namespace gradus::env
