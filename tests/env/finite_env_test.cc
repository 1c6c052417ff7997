#include "gradus/env/finite_env.h"

#include <array>
#include <cmath>
#include <numeric>

#include "gradus/env/bandit.h"
#include "gradus/env/random_walk.h"
#include "tests/core/expect_error.h"

namespace gradus::env {
namespace {

constexpr std::array<double, 1> kFirst = {0}, kSecond = {1};

// Action 0 goes from 0 to 1, ..., to 4, which is terminal; action 1 stays. Rewards 1 and -1.
FiniteEnv corridor(int64_t max_episode_steps = 0) {
  FiniteMdp::Definition d{.n_states = 5, .n_actions = 2};
  for (int32_t s = 0; s < 4; ++s) {
    d.outcomes.push_back({{.next = s + 1, .reward = 1}});
    d.outcomes.push_back({{.next = s, .reward = -1}});
  }
  d.outcomes.resize(10);
  d.start = {1, 0, 0, 0, 0};
  return {std::make_shared<const FiniteMdp>(std::move(d)), {.id = "corridor", .max_episode_steps = max_episode_steps}};
}

FiniteEnv walk_of_19() {
  return {random_walk({.states = 19}), {.id = "walk"}};
}

// The states of an episode of the walk.
std::vector<double> states_of(const Observation& first, FiniteEnv& env) {
  std::vector<double> states = {first[0]};
  for (bool over = false; !over;) {
    const StepResult r = env.step(kFirst);
    states.push_back(r.observation[0]);
    over = r.terminated || r.truncated;
  }
  return states;
}

TEST(FiniteEnv, SpacesAreTheStatesAndTheActions) {
  const FiniteEnv env = corridor(7);
  EXPECT_EQ(env.spec().observation_space, Space(Discrete{.n = 5}));
  EXPECT_EQ(env.spec().action_space, Space(Discrete{.n = 2}));
  EXPECT_EQ(env.spec().max_episode_steps, 7);
}

TEST(FiniteEnv, AStepSaysWhereItLedAndWhatItPaid) {
  FiniteEnv env = corridor();
  EXPECT_EQ(env.reset({}, {})[0], 0);
  const StepResult on = env.step(kFirst);
  EXPECT_EQ(on.observation[0], 1);
  EXPECT_EQ(on.reward, 1);
  const StepResult stays = env.step(kSecond);
  EXPECT_EQ(stays.observation[0], 1);
  EXPECT_EQ(stays.reward, -1);
}

TEST(FiniteEnv, TheEndOfTheTaskTerminatesAndDoesNotTruncate) {
  FiniteEnv env = corridor(10);
  env.reset({}, {{"state", 3}});
  const StepResult r = env.step(kFirst);
  EXPECT_TRUE(r.terminated);
  EXPECT_FALSE(r.truncated);
}

TEST(FiniteEnv, TheTimeLimitTruncatesAndDoesNotTerminate) {
  FiniteEnv env = corridor(3);
  env.reset({}, {});
  for (int i = 0; i < 2; ++i) EXPECT_FALSE(env.step(kSecond).truncated);
  const StepResult r = env.step(kSecond);
  EXPECT_TRUE(r.truncated);
  EXPECT_FALSE(r.terminated);
}

TEST(FiniteEnv, TheTaskMayEndAtTheTimeLimitItself) {
  FiniteEnv env = corridor(4);
  env.reset({}, {});
  for (int i = 0; i < 3; ++i) env.step(kFirst);
  const StepResult r = env.step(kFirst);
  EXPECT_TRUE(r.terminated);
  EXPECT_TRUE(r.truncated);
}

TEST(FiniteEnv, TheTimeLimitCountsAnewInEachEpisode) {
  FiniteEnv env = corridor(3);
  for (int episode = 0; episode < 3; ++episode) {
    env.reset({}, {});
    env.step(kSecond);
    EXPECT_FALSE(env.step(kSecond).truncated);
  }
}

TEST(FiniteEnv, WithoutATimeLimitNothingTruncates) {
  FiniteEnv env = corridor();
  env.reset({}, {});
  for (int i = 0; i < 10000; ++i) ASSERT_FALSE(env.step(kSecond).truncated);
}

TEST(FiniteEnv, AnEpisodeBeginsInTheStateOfTheOption) {
  FiniteEnv env = corridor();
  EXPECT_EQ(env.reset({}, {{"state", 2}})[0], 2);
  EXPECT_EQ(env.step(kFirst).observation[0], 3);
}

TEST(FiniteEnv, AnEpisodeThatBeginsAtTheEndIsOver) {
  FiniteEnv env = corridor();
  env.reset({}, {{"state", 4}});
  EXPECT_GRADUS_ERROR(env.step(kFirst), invalid_argument, "corridor: step: the episode is over; reset first");
}

TEST(FiniteEnv, RefusesAnotherOption) {
  FiniteEnv env = corridor();
  EXPECT_GRADUS_ERROR(env.reset({}, {{"place", 2}}), invalid_argument,
                      "corridor: reset: no option 'place'; 'state' is known");
}

TEST(FiniteEnv, RefusesAStateThatIsNotThere) {
  FiniteEnv env = corridor();
  for (const double state : {-1.0, 5.0, 0.5}) {
    EXPECT_GRADUS_ERROR(env.reset({}, {{"state", state}}), invalid_argument, "but there are 5 states");
  }
}

TEST(FiniteEnv, RefusesAStepBeforeTheFirstReset) {
  FiniteEnv env = corridor();
  EXPECT_GRADUS_ERROR(env.step(kFirst), invalid_argument, "corridor: step: the episode is over; reset first");
}

TEST(FiniteEnv, RefusesAStepAfterTermination) {
  FiniteEnv env = corridor();
  env.reset({}, {{"state", 3}});
  env.step(kFirst);
  EXPECT_GRADUS_ERROR(env.step(kFirst), invalid_argument, "the episode is over; reset first");
}

TEST(FiniteEnv, RefusesAStepAfterTruncation) {
  FiniteEnv env = corridor(1);
  env.reset({}, {});
  env.step(kSecond);
  EXPECT_GRADUS_ERROR(env.step(kSecond), invalid_argument, "the episode is over; reset first");
}

TEST(FiniteEnv, RefusesAnActionOutsideTheSpace) {
  FiniteEnv env = corridor();
  env.reset({}, {});
  for (const std::vector<double>& action : {std::vector<double>{2}, {-1}, {0.5}, {}, {0, 0}}) {
    EXPECT_GRADUS_ERROR(env.step(action), invalid_argument, "Discrete(2)");
  }
  EXPECT_EQ(env.step(kFirst).observation[0], 1);  // nothing has happened
}

TEST(FiniteEnv, RefusesANegativeTimeLimit) {
  EXPECT_GRADUS_ERROR(corridor(-1), invalid_argument, "corridor: max_episode_steps is -1");
}

TEST(FiniteEnv, TheSameSeedGivesTheSameEpisodes) {
  FiniteEnv a = walk_of_19(), b = walk_of_19();
  EXPECT_EQ(states_of(a.reset(5, {}), a), states_of(b.reset(5, {}), b));
  for (int episode = 0; episode < 5; ++episode) EXPECT_EQ(states_of(a.reset({}, {}), a), states_of(b.reset({}, {}), b));
}

TEST(FiniteEnv, ASeedBeginsAgain) {
  FiniteEnv env = walk_of_19();
  const std::vector<double> first = states_of(env.reset(5, {}), env), second = states_of(env.reset({}, {}), env);
  EXPECT_EQ(states_of(env.reset(5, {}), env), first);
  EXPECT_EQ(states_of(env.reset({}, {}), env), second);
}

TEST(FiniteEnv, OtherSeedsGiveOtherEpisodes) {
  FiniteEnv env = walk_of_19();
  EXPECT_NE(states_of(env.reset(5, {}), env), states_of(env.reset(6, {}), env));
}

TEST(FiniteEnv, AnEpisodeDoesNotDependOnTheLengthOfThoseBefore) {
  FiniteEnv a = walk_of_19(), b = walk_of_19();
  states_of(a.reset(5, {}), a);
  b.reset(5, {});
  b.step(kFirst);
  EXPECT_EQ(states_of(a.reset({}, {}), a), states_of(b.reset({}, {}), b));
}

TEST(FiniteEnv, EpisodesOfASeedDiffer) {
  FiniteEnv env = walk_of_19();
  const std::vector<double> first = states_of(env.reset(5, {}), env);
  EXPECT_NE(states_of(env.reset({}, {}), env), first);
}

// The signs of the first steps of consecutive episodes are as uncorrelated as coins.
TEST(FiniteEnv, EpisodesAreIndependent) {
  FiniteEnv env = walk_of_19();
  env.reset(1, {});
  constexpr int kEpisodes = 10000;
  double product = 0, before = 0;
  for (int episode = 0; episode < kEpisodes; ++episode) {
    env.reset({}, {});
    const double sign = env.step(kFirst).observation[0] - 9;
    product += sign * before;
    before = sign;
  }
  EXPECT_LT(std::abs(product), 5 * std::sqrt(kEpisodes));
}

// Pearson's statistic of counts against probabilities.
double chi_squared(std::span<const int> counts, std::span<const double> probabilities) {
  const double n = std::accumulate(counts.begin(), counts.end(), 0.0);
  double sum = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const double expected = n * probabilities[i];
    if (expected == 0) {
      EXPECT_EQ(counts[i], 0) << "outcome " << i << " has probability 0";
    } else {
      sum += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
  }
  return sum;
}

// One action, by which each state leads to all of them with these probabilities; starts have them, too.
constexpr std::array<double, 5> kProbabilities = {0, 0.05, 0.25, 0, 0.7};
FiniteEnv lottery() {
  FiniteMdp::Definition d{.n_states = 5, .n_actions = 1};
  for (int s = 0; s < 5; ++s) {
    d.outcomes.emplace_back();
    for (int32_t next = 0; next < 5; ++next) {
      d.outcomes.back().push_back({.probability = kProbabilities[static_cast<size_t>(next)], .next = next});
    }
  }
  d.start.assign(kProbabilities.begin(), kProbabilities.end());
  return {std::make_shared<const FiniteMdp>(std::move(d)), {.id = "lottery"}};
}
constexpr double kUnlikely = 20;  // of chi squared with 2 degrees of freedom: exp(-10)

TEST(FiniteEnv, OutcomesAreAsFrequentAsTheyAreProbable) {
  FiniteEnv env = lottery();
  env.reset(1, {});
  std::array<int, 5> counts{};
  for (int i = 0; i < 100000; ++i) ++counts[static_cast<size_t>(env.step(kFirst).observation[0])];
  EXPECT_LT(chi_squared(counts, kProbabilities), kUnlikely);
}

TEST(FiniteEnv, StartsAreAsFrequentAsTheyAreProbable) {
  FiniteEnv env = lottery();
  env.reset(1, {});
  std::array<int, 5> counts{};
  for (int i = 0; i < 100000; ++i) ++counts[static_cast<size_t>(env.reset({}, {})[0])];
  EXPECT_LT(chi_squared(counts, kProbabilities), kUnlikely);
}

TEST(FiniteEnv, ARewardVariesByItsDeviation) {
  FiniteMdp::Definition d{.n_states = 1, .n_actions = 1};
  d.outcomes = {{{.next = 0, .reward = 3, .deviation = 2}}};
  d.start = {1};
  FiniteEnv env(std::make_shared<const FiniteMdp>(std::move(d)), {.id = "noise"});
  env.reset(1, {});
  constexpr int kSteps = 100000;
  double sum = 0, squares = 0;
  for (int i = 0; i < kSteps; ++i) {
    const double r = env.step(kFirst).reward - 3;
    sum += r;
    squares += r * r;
  }
  EXPECT_NEAR(sum / kSteps, 0, 0.03);
  EXPECT_NEAR(squares / kSteps, 4, 0.1);
}

TEST(FiniteEnv, BeginAndMoveAreTheSameAsResetAndStep) {
  FiniteEnv env = walk_of_19();
  const std::vector<double> states = states_of(env.reset(5, {}), env);
  Rng rng(5, Purpose::environment, 0);
  EXPECT_EQ(env.begin(rng), states[0]);
  for (size_t t = 1; t < states.size(); ++t) {
    const FiniteEnv::Move m = env.move(0, rng);
    EXPECT_EQ(m.next, states[t]);
    EXPECT_EQ(m.terminated, t + 1 == states.size());
    EXPECT_EQ(env.state(), m.next);
  }
}

TEST(FiniteEnv, ExploringStartsCountTheTimeLimitAnew) {
  FiniteEnv env = corridor(2);
  Rng rng(1, Purpose::test);
  EXPECT_EQ(env.begin_at(2), 2);
  EXPECT_FALSE(env.move(1, rng).truncated);
  EXPECT_TRUE(env.move(1, rng).truncated);
  env.begin_at(1);
  EXPECT_FALSE(env.move(1, rng).truncated);
}

TEST(FiniteEnv, GivesItselfAsTheTable) {
  FiniteEnv env = corridor();
  Env& base = env;
  EXPECT_EQ(base.finite(), &env);
}

}  // namespace
}  // namespace gradus::env
