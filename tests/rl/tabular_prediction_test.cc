#include <gtest/gtest.h>

#include "gradus/env/random_walk.h"
#include "gradus/rl/tabular/dynamic_programming.h"
#include "tests/core/expect_error.h"
#include "tests/rl/tabular_case.h"

namespace gradus::rl {
namespace {

constexpr uint64_t kSeeds = 8;
constexpr double kGamma = 0.8;

std::vector<double> exact(const env::FiniteMdp& mdp, const LearnerConfig& c) {
  return evaluate_policy(mdp, named_policy(mdp, c.policy, c.policy_eps, c.gamma), c.gamma);
}

class Prediction : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, Prediction, ::testing::ValuesIn(names_of(Learns::prediction)), test_name);

class TdPrediction : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, TdPrediction, ::testing::ValuesIn(names_of(Learns::prediction, false)), test_name);

// Episodes that all end, rewards with noise, falling step sizes. Every state is visited 5000 times or more, so that a
// last step size of 5000^-0.85 leaves errors of about 0.02. The ratios of off-policy episodes have a finite variance:
// sum_a pi^2 / b is below 2, and half of the steps end an episode.
TEST_P(Prediction, ComesToTheExactValuesOfThePolicy) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    for (const std::string policy : {"uniform", "optimal"}) {
      SCOPED_TRACE(fmt::format("seed {}, policy {}", seed, policy));
      const auto mdp = random_mdp({.seed = seed, .ends = 0.5, .deviation = 0.5});
      const bool monte_carlo = GetParam().starts_with("mc");
      const LearnerConfig c{.gamma = kGamma,
                            .alpha = monte_carlo ? 0.0 : 1.0,
                            .alpha_power = 0.85,
                            .policy = policy,
                            .policy_eps = 0.3,
                            .behaviour = "optimal",
                            .behaviour_eps = 0.6};
      const std::vector<double> V = trained(env_of(mdp, 0), GetParam(), c, 40'000).agent().V();
      const std::vector<double> expected = exact(*mdp, c);
      for (size_t s = 0; s < V.size(); ++s) EXPECT_NEAR(V[s], expected[s], 0.1) << s;
    }
  }
}

// A time limit is no end: methods that bootstrap come to the values of a task that has none.
TEST_P(TdPrediction, ComesToTheExactValuesAcrossTimeLimits) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    for (const int64_t limit : {1, 3, 10}) {
      SCOPED_TRACE(fmt::format("seed {}, limit {}", seed, limit));
      const auto mdp = random_mdp({.seed = seed});
      const LearnerConfig c{.gamma = kGamma, .alpha = 1, .alpha_power = 0.85};
      const std::vector<double> V = trained(env_of(mdp, limit), GetParam(), c, 40'000 / limit).agent().V();
      const std::vector<double> expected = exact(*mdp, c);
      for (size_t s = 0; s < V.size(); ++s) EXPECT_NEAR(V[s], expected[s], 0.1) << s;
    }
  }
}

TEST_P(TdPrediction, BootstrapsAtATimeLimitAndNotAtATermination) {
  const LearnerConfig c{.gamma = 0.9, .alpha = 0.5};
  EXPECT_NEAR(trained(one_step_env(false), GetParam(), c, 500).agent().V()[0], 10, 1e-6);
  EXPECT_NEAR(trained(one_step_env(true), GetParam(), c, 500).agent().V()[0], 1, 1e-6);
}

TEST_P(Prediction, ComesToTheValuesOfTheRandomWalk) {
  const auto walk = env::random_walk({.states = 5});
  const LearnerConfig c{.gamma = 1, .alpha = 1, .alpha_power = 0.7, .visits = "every", .episode_length = 10'000};
  const std::vector<double> V = trained(env_of(walk, 0), GetParam(), c, 10'000).agent().V();
  for (size_t s = 0; s < 5; ++s) EXPECT_NEAR(V[s], static_cast<double>(s + 1) / 6, 0.05) << s;
}

// Bits of V after some episodes.
std::vector<double> learned(std::string_view algorithm, const LearnerConfig& c, uint64_t seed, int64_t episodes = 50) {
  return trained(env_of(random_mdp({.seed = seed, .ends = 0.1, .deviation = 0.5}), 0), algorithm, c, episodes)
      .agent()
      .V();
}

TEST(TdLambda, OfZeroIsTd0ToTheBit) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    for (const std::string traces : {"accumulating", "replacing"}) {
      const LearnerConfig c{.gamma = kGamma, .alpha = 0.1, .lambda = 0, .traces = traces};
      EXPECT_EQ(learned("td-lambda", c, seed), learned("td0", c, seed)) << seed;
    }
  }
}

TEST(NStepTd, OfOneIsTd0ToTheBit) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const LearnerConfig c{.gamma = kGamma, .alpha = 0.1, .n = 1};
    EXPECT_EQ(learned("n-step-td", c, seed), learned("td0", c, seed)) << seed;
  }
}

// A line of four states, in which no state comes back: then all updates of an episode are of different values, and the
// targets of n steps, of lambda = 1 and of Monte Carlo are the same.
std::shared_ptr<const env::FiniteMdp> line() {
  env::FiniteMdp::Definition d{.n_states = 5, .n_actions = 1, .start = {1, 0, 0, 0, 0}};
  d.outcomes.resize(5);
  for (int32_t s = 0; s < 4; ++s) {
    d.outcomes[static_cast<size_t>(s)] = {{.next = s + 1, .reward = s - 1.5, .deviation = 1}};
  }
  return std::make_shared<const env::FiniteMdp>(std::move(d));
}

TEST(NStepTd, OfManyStepsHasTheTargetsOfMonteCarlo) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const LearnerConfig c{.gamma = kGamma, .alpha = 0.3, .n = 1000, .visits = "every"};
    const auto V = trained(env_of(line(), 0), "n-step-td", c, 5, seed).agent().V();
    EXPECT_EQ(V, trained(env_of(line(), 0), "mc-prediction", c, 5, seed).agent().V());
  }
}

// (12.6): over an episode the TD errors add up to the error of the return, if V stood still.
TEST(TdLambda, OfOneHasTheTargetsOfMonteCarlo) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const LearnerConfig c{.gamma = kGamma, .alpha = 0.001, .lambda = 1, .visits = "every"};
    const auto V = trained(env_of(line(), 0), "td-lambda", c, 1, seed).agent().V();
    const auto of_mc = trained(env_of(line(), 0), "mc-prediction", c, 1, seed).agent().V();
    EXPECT_LE(rms_error(V, of_mc), 1e-15) << seed;  // from V = 0 they are the same for one episode
  }
}

TEST(TdLambda, OfOneIsCloseToEveryVisitMonteCarlo) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const LearnerConfig c{.gamma = kGamma, .alpha = 0.001, .lambda = 1, .visits = "every", .episode_length = 1'000'000};
    const auto V = learned("td-lambda", c, seed, 400), of_mc = learned("mc-prediction", c, seed, 400);
    double largest = 0;
    for (const double v : of_mc) largest = std::max(largest, std::abs(v));
    EXPECT_LE(rms_error(V, of_mc), 0.02 * largest) << seed;
  }
}

// First, every and initial visits of one episode: a loop of one state that ends after three steps, with rewards of 1.
TEST(McPrediction, CountsTheVisitsItIsAskedTo) {
  env::FiniteMdp::Definition d{.n_states = 1, .n_actions = 1, .start = {1}};
  d.outcomes = {{{.next = 0, .reward = 1}}};
  const env::FiniteEnv env = env_of(std::make_shared<const env::FiniteMdp>(std::move(d)), 3);
  const auto value = [&](const std::string& visits) {
    return trained(env, "mc-prediction", {.gamma = 1, .visits = visits}, 1).agent().V()[0];
  };
  EXPECT_EQ(value("initial"), 3);
  EXPECT_EQ(value("first"), 3);
  EXPECT_EQ(value("every"), 2);  // (3 + 2 + 1) / 3
}

// Sutton & Barto, section 5.5: of one episode with ratio rho, ordinary importance sampling says rho G, weighted G.
TEST(McOffPolicyPrediction, WeighsReturnsOrdinaryOrWeighted) {
  env::FiniteMdp::Definition d{.n_states = 2, .n_actions = 2, .start = {1, 0}};
  d.outcomes = {{{.next = 1, .reward = 2}}, {{.next = 1, .reward = 5}}, {}, {}};
  const env::FiniteEnv env = env_of(std::make_shared<const env::FiniteMdp>(std::move(d)), 0);
  LearnerConfig c{.policy = "action 0"};  // behaviour: uniform, so rho is 2 or 0
  int64_t of_zero = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    c.importance = "ordinary";
    Trial ordinary = trained(env, "mc-off-policy-prediction", c, 1, seed);
    c.importance = "weighted";
    const double weighted = trained(env, "mc-off-policy-prediction", c, 1, seed).agent().V()[0];
    const bool took_zero = ordinary.episodes()[0].total_reward == 2;
    of_zero += took_zero;
    EXPECT_EQ(ordinary.agent().V()[0], took_zero ? 4 : 0);
    EXPECT_EQ(weighted, took_zero ? 2 : 0);
  }
  EXPECT_GT(of_zero, 0);
  EXPECT_LT(of_zero, 20);
}

TEST(McOffPolicyPrediction, OrdinaryComesToTheExactValues) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    const auto mdp = random_mdp({.seed = seed, .ends = 0.5});
    const LearnerConfig c{
        .gamma = kGamma, .importance = "ordinary", .policy = "optimal", .policy_eps = 0.5, .behaviour = "uniform"};
    const auto V = trained(env_of(mdp, 0), "mc-off-policy-prediction", c, 40'000).agent().V();
    const auto expected = exact(*mdp, c);
    for (size_t s = 0; s < V.size(); ++s) EXPECT_NEAR(V[s], expected[s], 0.1) << s;
  }
}

// Its errors are those before each update, as every algorithm reports them.
TEST_P(Prediction, ReportsTheErrorBeforeTheUpdate) {
  const EpisodeStats stats = trained(one_step_env(true), GetParam(), {.alpha = 1}, 1).episodes()[0];
  EXPECT_EQ(stats.updates, 1);
  EXPECT_EQ(stats.squared_td_error, 1);
  EXPECT_EQ(stats.length, 1);
  EXPECT_EQ(stats.total_reward, 1);
  EXPECT_TRUE(stats.terminated);
}

TEST(McOffPolicyPrediction, RefusesABehaviourThatDoesNotCover) {
  const auto mdp = random_mdp({.seed = 3});
  ASSERT_GT(mdp->n_actions(), 1);
  LearnerConfig c{.policy = "uniform", .behaviour = "action 0", .behaviour_eps = 0};
  EXPECT_GRADUS_ERROR(make_learner("mc-off-policy-prediction", *mdp, c), invalid_argument,
                      "never takes action 1 in state 0");
  c.policy = "action 0";
  make_learner("mc-off-policy-prediction", *mdp, c);
  c.policy_eps = 0.1;
  EXPECT_GRADUS_ERROR(make_learner("mc-off-policy-prediction", *mdp, c), invalid_argument, "raise behaviour_eps");
}

TEST(NamedPolicy, RefusesAnUnknownName) {
  const auto mdp = random_mdp({.seed = 3});
  EXPECT_GRADUS_ERROR(named_policy(*mdp, "best", 0, 0.9), invalid_argument,
                      "the policy 'best' is not known; known are uniform, optimal, and the actions action 0");
}

TEST(NamedPolicy, MixesInRandomActions) {
  const auto mdp = random_mdp({.seed = 3});
  const auto n = static_cast<double>(mdp->n_actions());
  for (const std::string name : {"uniform", "optimal", "action 1"}) {
    const Table pi = named_policy(*mdp, name, 0.4, 0.9);
    for (const double p : pi.values()) {
      EXPECT_TRUE(name == "uniform" ? p == 1 / n : std::abs(p - 0.4 / n) < 1e-15 || std::abs(p - 0.6 - 0.4 / n) < 1e-15)
          << name << p;
    }
  }
  EXPECT_EQ(evaluate_policy(*mdp, named_policy(*mdp, "optimal", 0, 0.9), 0.9).size(),
            static_cast<size_t>(mdp->n_states()));
}

}  // namespace
}  // namespace gradus::rl
