#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gradus/core/thread_pool.h"
#include "gradus/rl/tabular/dynamic_programming.h"
#include "tests/core/expect_error.h"
#include "tests/rl/tabular_case.h"

namespace gradus::rl {
namespace {

constexpr uint64_t kSeeds = 8;
constexpr double kGamma = 0.8;

class Control : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, Control, ::testing::ValuesIn(names_of(Learns::control)), test_name);

class TdControl : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, TdControl, ::testing::ValuesIn(names_of(Learns::control, false)), test_name);

// How much less than the optimum the greedy policy of Q earns, exactly, in the worst state.
double regret(const env::FiniteMdp& mdp, const Table& Q, double gamma) {
  const std::vector<double> optimum = value_iteration(mdp, {.gamma = gamma}).V;
  const std::vector<double> V = evaluate_policy(mdp, first_greedy_policy(Q, 0), gamma);
  double most = 0;
  for (size_t s = 0; s < V.size(); ++s) most = std::max(most, optimum[s] - V[s]);
  return most;
}

bool on_policy(const std::string& algorithm) {
  return algorithm == "mc-epsilon-greedy" || algorithm.find("sarsa") != std::string::npos;
}

// The MDPs of control: for on-policy methods, which come to the best policy that explores, those in which it prefers
// the optimal actions, whatever its eps.
std::vector<std::shared_ptr<const env::FiniteMdp>> mdps_for(const std::string& algorithm, double ends) {
  std::vector<std::shared_ptr<const env::FiniteMdp>> all;
  for (uint64_t seed = 0; std::ssize(all) < 6; ++seed) {
    auto mdp = random_mdp({.seed = seed, .least_actions = 2, .ends = ends});
    const auto prefers_optimal = [&](double eps) {
      return regret(*mdp, best_epsilon_soft(*mdp, kGamma, eps).Q, kGamma) < 1e-9;
    };
    if (!on_policy(algorithm) || (prefers_optimal(0.05) && prefers_optimal(0.3))) all.push_back(std::move(mdp));
  }
  return all;
}

// What brings each of them to the optimum: eps that falls, so that on-policy methods end up evaluating a nearly greedy
// policy; step sizes that fall slowly, so that what early policies earned is forgotten.
LearnerConfig patient() {
  return {.gamma = kGamma,
          .alpha = 1,
          .alpha_power = 0.8,
          .eps = 0.5,
          .eps_decay = 0.9998,
          .eps_least = 0.1,
          .n = 3,
          .lambda = 0.6,
          .episode_length = 30,
          .episodes_per_pair = 4000};
}

// Rewards lie within +-1 and values within +-3 or so. MC off-policy control has the ratios of its tails within bounds:
// of a behaviour that is optimal for the most part, where half of the steps end an episode.
TEST_P(Control, ReachesTheOptimum) {
  for (const auto& mdp : mdps_for(GetParam(), 0.5)) {
    LearnerConfig c = patient();
    if (GetParam() == "mc-off-policy-control") {
      c.behaviour = "optimal";
      c.behaviour_eps = 0.5;
    }
    Trial trial = trained(env_of(mdp, 0), GetParam(), c, GetParam() == "mc-basic" ? 8 : 30'000);
    EXPECT_LE(regret(*mdp, trial.agent().Q(), kGamma), 0.03);
  }
}

TEST_P(TdControl, ReachesTheOptimumAcrossTimeLimits) {
  for (const auto& mdp : mdps_for(GetParam(), 0)) {
    for (const int64_t limit : {1, 7}) {
      Trial trial = trained(env_of(mdp, limit), GetParam(), patient(), limit == 1 ? 60'000 : 15'000);
      EXPECT_LE(regret(*mdp, trial.agent().Q(), kGamma), 0.03) << "limit " << limit;
    }
  }
}

TEST_P(TdControl, BootstrapsAtATimeLimitAndNotAtATermination) {
  const LearnerConfig c{.gamma = 0.9, .alpha = 0.5};
  EXPECT_NEAR(trained(one_step_env(false), GetParam(), c, 2000).agent().V()[0], 10, 1e-6);
  EXPECT_NEAR(trained(one_step_env(true), GetParam(), c, 2000).agent().V()[0], 1, 1e-6);
}

// Their values, not only their policies: off-policy methods come to the optimal ones, whatever acts.
TEST(QLearning, ComesToTheOptimalValuesByAnyBehaviour) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const auto mdp = random_mdp({.seed = seed, .least_actions = 2});
    const auto optimum = value_iteration(*mdp, {.gamma = kGamma}).V;
    for (const std::string algorithm : {"q-learning", "off-policy-q-learning", "double-q-learning"}) {
      LearnerConfig c = patient();
      c.eps = c.eps_least = 0.5;
      const auto V = trained(env_of(mdp, 10), algorithm, c, 10'000).agent().V();
      for (size_t s = 0; s < V.size(); ++s) EXPECT_NEAR(V[s], optimum[s], 0.1) << algorithm << " seed " << seed;
    }
  }
}

// On-policy methods come to the values of the best policy that explores as much as they do.
TEST(Sarsa, ComesToTheBestPolicyThatExplores) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const auto mdp = random_mdp({.seed = seed, .least_actions = 2});
    const ExactSolution best = best_epsilon_soft(*mdp, kGamma, 0.3);
    for (const std::string algorithm : {"sarsa", "expected-sarsa", "n-step-sarsa", "sarsa-lambda"}) {
      LearnerConfig c = patient();
      c.eps = c.eps_least = 0.3;
      Trial trial = trained(env_of(mdp, 10), algorithm, c, 10'000);
      for (int64_t s = 0; s < mdp->n_states(); ++s) {
        if (mdp->is_terminal(s)) continue;
        EXPECT_NEAR(max_of(trial.agent().Q()[s]), max_of(best.Q[s]), 0.12) << algorithm << " seed " << seed;
      }
    }
  }
}

Table learned(std::string_view algorithm, const LearnerConfig& c, uint64_t seed) {
  return trained(env_of(random_mdp({.seed = seed, .deviation = 0.5}), 20), algorithm, c, 100).agent().Q();
}

TEST(SarsaLambda, OfZeroIsSarsaToTheBit) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    for (const std::string traces : {"accumulating", "replacing"}) {
      const LearnerConfig c{.gamma = kGamma, .alpha = 0.1, .lambda = 0, .traces = traces};
      EXPECT_EQ(learned("sarsa-lambda", c, seed), learned("sarsa", c, seed)) << seed;
    }
  }
}

TEST(NStepSarsa, OfOneIsSarsaToTheBit) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const LearnerConfig c{.gamma = kGamma, .alpha = 0.1, .n = 1};
    EXPECT_EQ(learned("n-step-sarsa", c, seed), learned("sarsa", c, seed)) << seed;
  }
}

TEST(ExpectedSarsa, WithoutExplorationIsQLearningToTheBit) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const LearnerConfig c{.gamma = kGamma, .alpha = 0.1, .eps = 0};
    EXPECT_EQ(learned("expected-sarsa", c, seed), learned("q-learning", c, seed)) << seed;
  }
}

// A line on which no pair comes back: from Q = 0 an episode of n-step Sarsa and one of Monte Carlo see the same actions
// and have the same targets.
TEST(NStepSarsa, OfManyStepsHasTheTargetsOfMonteCarlo) {
  env::FiniteMdp::Definition d{.n_states = 5, .n_actions = 2, .start = {1, 0, 0, 0, 0}};
  d.outcomes.resize(10);
  for (int32_t s = 0; s < 4; ++s) {
    d.outcomes[static_cast<size_t>(2 * s)] = {{.next = s + 1, .reward = s + 0.5}};
    d.outcomes[static_cast<size_t>(2 * s + 1)] = {{.next = s + 1, .reward = 1.5 - s}};
  }
  const env::FiniteEnv env = env_of(std::make_shared<const env::FiniteMdp>(std::move(d)), 0);
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const LearnerConfig c{.gamma = kGamma, .alpha = 0.3, .n = 1000, .visits = "every"};
    const Table Q = trained(env, "n-step-sarsa", c, 1, seed).agent().Q();
    EXPECT_EQ(Q, trained(env, "mc-epsilon-greedy", c, 1, seed).agent().Q());
  }
}

// Zhao, section 5.2: MC Basic with episodes of N steps is N steps of value iteration, where nothing is left to chance.
TEST(McBasic, OfOneStepMoreEachTimeIsValueIteration) {
  const env::FiniteMdp::Definition line = [] {
    env::FiniteMdp::Definition d{.n_states = 3, .n_actions = 2, .start = {1, 0, 0}};
    d.outcomes = {{{.next = 1, .reward = -1}}, {{.next = 0, .reward = 0}}, {{.next = 2, .reward = -1}},
                  {{.next = 0, .reward = 0}},  {{.next = 2, .reward = 3}}, {{.next = 1, .reward = 0}}};
    return d;
  }();
  const auto mdp = std::make_shared<const env::FiniteMdp>(line);
  for (const int64_t steps : {1, 2, 5, 50}) {
    const LearnerConfig c{.gamma = 0.9, .episode_length = steps};
    const Table Q = trained(env_of(mdp, 0), "mc-basic", c, 10).agent().Q();
    const auto expected = finite_horizon_values(*mdp, 0.9, steps);
    const auto V = greatest_values(Q);
    for (size_t s = 0; s < 3; ++s) EXPECT_NEAR(V[s], expected[s], 1e-12) << steps;
  }
}

// Sutton & Barto, example 6.7: from A right ends for 0; left leads to B for 0, from where each of many actions ends for
// a reward from N(-0.1, 1). Right is best: q*(A, left) = -0.1; the greatest of noisy values lures to the left.
env::FiniteEnv maximization_bias() {
  constexpr int64_t kActions = 10;
  enum : int32_t { A, B, kEnd };
  env::FiniteMdp::Definition d{.n_states = 3, .n_actions = kActions, .start = {1, 0, 0}};
  d.outcomes.resize(3 * kActions);
  for (int64_t a = 0; a < kActions; ++a) {
    d.outcomes[static_cast<size_t>(a)] = {{.next = a == 0 ? B : kEnd, .reward = 0}};
    d.outcomes[static_cast<size_t>(kActions + a)] = {{.next = kEnd, .reward = -0.1, .deviation = 1}};
  }
  return env_of(std::make_shared<const env::FiniteMdp>(std::move(d)), 0);
}

// The mean over seeds of Q(A, left) after some episodes with every action equally likely.
MeanOfSeeds value_of_left(std::string_view algorithm) {
  const env::FiniteEnv env = maximization_bias();
  std::vector<double> values;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const LearnerConfig c{.gamma = 1, .alpha = 0.1, .eps = 1};
    values.push_back(trained(env, algorithm, c, 1500, seed).agent().Q()(0, 0));
  }
  return mean_of_seeds(values);
}

TEST(DoubleQLearning, DoesNotOverestimateAsQLearningDoes) {
  const MeanOfSeeds single = value_of_left("q-learning"), twice = value_of_left("double-q-learning");
  EXPECT_GT(single.mean, 0.05);
  EXPECT_LT(twice.mean, 0);
  EXPECT_GT(single.mean - twice.mean, 10 * (single.standard_error + twice.standard_error));
}

// Share of episodes that go left, as figure 6.5 shows it: Q-learning far more often in its first hundred.
TEST(DoubleQLearning, IsLuredLessOften) {
  const env::FiniteEnv env = maximization_bias();
  const auto share_of_left = [&](std::string_view algorithm) {
    double left = 0;
    for (uint64_t seed = 0; seed < 300; ++seed) {
      Trial trial = trained(env, algorithm, {.gamma = 1, .alpha = 0.1, .eps = 0.1}, 300, seed);
      for (const EpisodeStats& e : trial.episodes()) left += e.length == 2;
    }
    return left / (300 * 300);
  };
  EXPECT_GT(share_of_left("q-learning"), 1.5 * share_of_left("double-q-learning"));
}

// Terminal states keep their first value, and nothing reads it.
TEST_P(Control, DoesNotReadValuesOfTerminalStates) {
  env::FiniteMdp::Definition d{.n_states = 2, .n_actions = 1, .start = {1, 0}};
  d.outcomes = {{{.next = 1, .reward = 1}}, {}};
  LearnerConfig c{.gamma = 0.9, .alpha = 0.5, .q0 = 1000};
  const auto Q =
      trained(env_of(std::make_shared<const env::FiniteMdp>(std::move(d)), 0), GetParam(), c, 500).agent().Q();
  EXPECT_NEAR(Q(0, 0), 1, 1e-6);
  EXPECT_EQ(Q(1, 0), 0);  // what nobody learns is shown as 0
}

// All that it knows, bit for bit.
std::vector<std::vector<double>> numbers_of(const Trial& trial) {
  std::vector<std::vector<double>> all;
  for (const auto& [name, tensor] : trial.agent().state()) {
    all.emplace_back(tensor.span<double>().begin(), tensor.span<double>().end());
  }
  return all;
}

// Planning takes nothing from chance.
bool plans(std::string_view algorithm) {
  return std::ranges::find(tabular_algorithms(), algorithm, &TabularAlgorithm::name)->step_size == StepSize::none;
}

class AnyAlgorithm : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Control, AnyAlgorithm, ::testing::ValuesIn(names_of(Learns::control)), test_name);
INSTANTIATE_TEST_SUITE_P(Prediction, AnyAlgorithm, ::testing::ValuesIn(names_of(Learns::prediction)), test_name);

TEST_P(AnyAlgorithm, GivesTheSameBitsOnAnyNumberOfThreads) {
  const env::FiniteEnv env = env_of(random_mdp({.seed = 5, .deviation = 0.5}), 20);
  std::vector<std::vector<std::vector<double>>> first;
  for (const int threads : {1, 2, 3}) {
    set_pool_threads(threads);
    std::vector<Trial> trials;
    for (uint64_t seed = 0; seed < 7; ++seed) trials.emplace_back(env, GetParam(), LearnerConfig{}, seed);
    run_trials(trials, 10);
    std::vector<std::vector<std::vector<double>>> all;
    for (Trial& trial : trials) all.push_back(numbers_of(trial));
    if (threads == 1) first = all;
    EXPECT_EQ(all, first) << threads << " threads";
  }
  set_pool_threads(available_cpus());
  if (!plans(GetParam())) {
    EXPECT_NE(first[0], first[1]);  // seeds differ
  }
}

// As a checkpoint has it: the state of the first half, restored in a new agent, and the number of episodes.
TEST_P(AnyAlgorithm, GoesOnFromItsStateToTheSameBits) {
  const env::FiniteEnv env = env_of(random_mdp({.seed = 6, .deviation = 0.5}), 20);
  const LearnerConfig c{.alpha = 0.5, .alpha_power = 0.6, .eps = 0.5, .eps_decay = 0.9};
  Trial whole = trained(env, GetParam(), c, 20), half = trained(env, GetParam(), c, 12), rest(env, GetParam(), c, 1);
  rest.agent().restore(half.agent().state());
  rest.continue_after(12);
  rest.run(8);
  EXPECT_EQ(numbers_of(rest), numbers_of(whole));
}

TEST_P(AnyAlgorithm, RefusesSettingsOutOfRange) {
  const auto mdp = random_mdp({.seed = 3});
  const auto refuses = [&](const LearnerConfig& c, std::string_view part) {
    EXPECT_GRADUS_ERROR(make_learner(GetParam(), *mdp, c), invalid_argument, std::string(part));
  };
  refuses({.gamma = 1.5}, "gamma is 1.5, but must lie in [0, 1]");
  refuses({.gamma = std::nan("")}, "gamma is nan");
  refuses({.alpha = -2}, "alpha is -2");
  refuses({.alpha = std::nan("")}, "alpha is nan");
  refuses({.alpha_power = 2}, "alpha_power is 2");
  refuses({.eps = -1}, "eps is -1, but must lie in [0, 1]");
  refuses({.q0 = INFINITY}, "q0 is inf");
  refuses({.n = 0}, "n is 0");
  refuses({.lambda = 1.1}, "lambda is 1.1");
  refuses({.traces = "dutch"}, "traces is 'dutch', but must be one of accumulating, replacing");
  refuses({.visits = "last"}, "visits is 'last', but must be one of initial, first, every");
  refuses({.importance = "none"}, "importance is 'none', but must be one of ordinary, weighted");
  refuses({.episode_length = 0}, "episode_length is 0");
  refuses({.episodes_per_pair = 0}, "episodes_per_pair is 0");
}

TEST(MakeLearner, NamesTheNearestAlgorithm) {
  const auto mdp = random_mdp({.seed = 3});
  EXPECT_GRADUS_ERROR(make_learner("q-lerning", *mdp, {}), invalid_argument,
                      "algorithm 'q-lerning' is not known; did you mean 'q-learning'?");
  EXPECT_GRADUS_ERROR(make_learner("td1", *mdp, {}), invalid_argument, "did you mean 'td0'?");
}

TEST(OffPolicyControl, RefusesABehaviourThatDoesNotTryEverything) {
  const auto mdp = random_mdp({.seed = 3});
  ASSERT_GT(mdp->n_actions(), 1);
  LearnerConfig c{.behaviour = "action 1", .behaviour_eps = 0};
  for (const std::string algorithm : {"off-policy-q-learning", "mc-off-policy-control"}) {
    EXPECT_GRADUS_ERROR(make_learner(algorithm, *mdp, c), invalid_argument, "never takes action 0 in state 0");
  }
}

TEST(MeanOfSeeds, HasTheStandardErrorOfTheMean) {
  const MeanOfSeeds m = mean_of_seeds({1, 2, 3, 6});
  EXPECT_DOUBLE_EQ(m.mean, 3);
  EXPECT_DOUBLE_EQ(m.standard_error, std::sqrt(14.0 / 3 / 4));
  EXPECT_EQ(mean_of_seeds({5}).standard_error, 0);
}

}  // namespace
}  // namespace gradus::rl
