#include "gradus/rl/tabular/dynamic_programming.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "gradus/env/random_walk.h"
#include "tests/core/expect_error.h"
#include "tests/rl/random_mdp.h"

namespace gradus::rl {
namespace {

constexpr uint64_t kSeeds = 60;

using ::testing::DoubleNear;
using ::testing::Pointwise;

// V is within `tolerance` of `expected` in every state.
void expect_near(const std::vector<double>& V, const std::vector<double>& expected, double tolerance) {
  EXPECT_THAT(V, Pointwise(DoubleNear(tolerance), expected));
}

// One state from which only `action 0` leads, back to it, for a reward of 1; action 1, if there, ends the episode.
std::shared_ptr<const env::FiniteMdp> loop(int64_t n_actions, double reward = 1) {
  env::FiniteMdp::Definition d{.n_states = 1, .n_actions = n_actions, .start = {1}};
  d.outcomes = {{{.next = 0, .reward = reward}}};
  if (n_actions == 2) d.outcomes.push_back({{.next = 0, .terminated = true, .reward = 0}});
  return std::make_shared<const env::FiniteMdp>(std::move(d));
}

TEST(ValueIteration, SolvesTheBellmanOptimalityEquation) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    const auto mdp = random_mdp({.seed = seed});
    const ExactSolution x = value_iteration(*mdp, {.gamma = 0.9});
    expect_near(greatest_values(action_values_of(*mdp, x.V, 0.9)), x.V, 1e-11);
    expect_near(greatest_values(x.Q), x.V, 1e-11);
    for (int64_t s = 0; s < mdp->n_states(); ++s) {
      EXPECT_TRUE(!mdp->is_terminal(s) || x.V[static_cast<size_t>(s)] == 0);
    }
  }
}

TEST(PolicyIteration, ExactOrTruncatedEqualsValueIteration) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    for (const double gamma : {0.0, 0.5, 0.9, 0.99}) {
      const auto mdp = random_mdp({.seed = seed});
      const ExactSolution optimum = value_iteration(*mdp, {.gamma = gamma});
      for (const int64_t sweeps : {0, 1, 2, 5, 50}) {
        SCOPED_TRACE(fmt::format("seed {}, gamma {}, sweeps {}", seed, gamma, sweeps));
        const ExactSolution x = policy_iteration(*mdp, {.gamma = gamma, .sweeps = sweeps});
        expect_near(x.V, optimum.V, 1e-9);
        expect_near({x.Q.values().begin(), x.Q.values().end()}, {optimum.Q.values().begin(), optimum.Q.values().end()},
                    1e-9);
      }
    }
  }
}

TEST(PolicyIteration, WithoutDiscountWhereAllEpisodesEndEqualsValueIteration) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    const auto mdp = random_mdp({.seed = seed, .ends = 0.1});
    const std::vector<double> optimum = value_iteration(*mdp, {.gamma = 1}).V;
    for (const int64_t sweeps : {0, 1, 7}) {
      expect_near(policy_iteration(*mdp, {.gamma = 1, .sweeps = sweeps}).V, optimum, 1e-9);
    }
  }
}

// In the large, values have rounding errors far above the tolerance.
TEST(PolicyIteration, EndsWhateverTheScaleOfRewards) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    const auto mdp = random_mdp({.seed = seed, .reward_scale = 1e8});
    const std::vector<double> optimum = value_iteration(*mdp, {.gamma = 0.99, .most_iterations = 20'000}).V;
    for (const int64_t sweeps : {0, 3}) {
      expect_near(policy_iteration(*mdp, {.gamma = 0.99, .sweeps = sweeps}).V, optimum, 1e-2);
    }
  }
}

// Sutton & Barto, section 4.1: V_{k+1} = r_pi + gamma P_pi V_k goes to the values of pi.
TEST(EvaluatePolicy, IsTheEndOfALongIteration) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    const auto mdp = random_mdp({.seed = seed});
    const Table pi = random_policy(*mdp, seed);
    std::vector<double> V(static_cast<size_t>(mdp->n_states()), 0.0);
    for (int i = 0; i < 400; ++i) {
      V = values_of(pi, action_values_of(*mdp, V, 0.9));
    }
    expect_near(evaluate_policy(*mdp, pi, 0.9), V, 1e-12);
  }
}

// Sutton & Barto, example 6.2: 1/6 to 5/6, and 0 at both ends.
TEST(BellmanResidual, IsZeroForTheSolutionAndTheSizeOfAStepElsewhere) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    const auto mdp = random_mdp({.seed = seed});
    const Table pi = random_policy(*mdp, seed);
    EXPECT_NEAR(bellman_residual(*mdp, pi, evaluate_policy(*mdp, pi, 0.9), 0.9), 0, 1e-11);
    EXPECT_NEAR(optimality_residual(*mdp, value_iteration(*mdp, {.gamma = 0.9}).Q, 0.9), 0, 1e-11);
  }
  // A value of 3 in the one state should be 1 + 0.5 * 3; that of the other action, which ends with 0, should be 0.
  EXPECT_NEAR(bellman_residual(*loop(1), uniform_policy(1, 1), {3}, 0.5), 0.5, 1e-15);
  EXPECT_NEAR(optimality_residual(*loop(1), Table(1, 1, 3), 0.5), 0.5, 1e-15);
  EXPECT_NEAR(optimality_residual(*loop(2), Table(1, 2, 3), 0.5), std::sqrt((0.25 + 9) / 2), 1e-15);
  EXPECT_NEAR(bellman_residual(*loop(2), uniform_policy(1, 2), {3}, 0.5), 1.75, 1e-15);  // 2.5 / 2 - 3
}

TEST(EvaluatePolicy, OfARandomWalkIsTheChanceToEndAtTheRight) {
  const auto walk = env::random_walk({.states = 5});
  expect_near(evaluate_policy(*walk, uniform_policy(7, 1), 1), {1. / 6, 2. / 6, 3. / 6, 4. / 6, 5. / 6, 0, 0}, 1e-14);
}

TEST(EvaluatePolicy, NoPolicyIsBetterThanTheOptimum) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const auto mdp = random_mdp({.seed = seed});
    const std::vector<double> optimum = value_iteration(*mdp, {.gamma = 0.9}).V;
    const std::vector<double> V = evaluate_policy(*mdp, random_policy(*mdp, seed), 0.9);
    for (size_t s = 0; s < V.size(); ++s) EXPECT_LE(V[s], optimum[s] + 1e-11) << seed;
  }
}

TEST(EvaluatePolicy, WithoutDiscountOrEndIsDiverged) {
  EXPECT_GRADUS_ERROR(evaluate_policy(*loop(1), uniform_policy(1, 1), 1), diverged, "some episode never ends");
  EXPECT_GRADUS_ERROR(evaluate_policy(*loop(2), first_greedy_policy(Table(1, 2), 0), 1), diverged, "gamma 1");
  EXPECT_DOUBLE_EQ(evaluate_policy(*loop(2), uniform_policy(1, 2), 1)[0], 1);  // 1/2 + 1/4 + ...
}

TEST(EvaluatePolicy, RefusesWhatIsNoPolicy) {
  const auto mdp = loop(2);
  EXPECT_GRADUS_ERROR(evaluate_policy(*mdp, Table(1, 2, 0.4), 0.9), invalid_argument, "state 0 sum to 0.8, not to 1");
  EXPECT_GRADUS_ERROR(evaluate_policy(*mdp, uniform_policy(1, 3), 0.9), invalid_argument, "1 states x 3 actions");
  Table negative(1, 2, 2);
  negative(0, 1) = -1;
  EXPECT_GRADUS_ERROR(evaluate_policy(*mdp, negative, 0.9), invalid_argument, "-1");
}

TEST(ValueIteration, WithoutDiscountOrEndIsDiverged) {
  EXPECT_GRADUS_ERROR(value_iteration(*loop(1), {.gamma = 1}), diverged, "use gamma below 1");
  EXPECT_GRADUS_ERROR(value_iteration(*loop(2), {.gamma = 1}), diverged, "use gamma below 1");
  // Where it costs to go on, the optimum is to end at once.
  EXPECT_EQ(value_iteration(*loop(2, -1), {.gamma = 1}).V[0], 0);
}

TEST(PolicyIteration, WithoutDiscountOrEndIsDiverged) {
  for (const int64_t sweeps : {0, 1, 5}) {
    EXPECT_GRADUS_ERROR(policy_iteration(*loop(2), {.gamma = 1, .sweeps = sweeps}), diverged, "use gamma below 1");
  }
}

TEST(ValueIteration, StopsAfterAsManyIterationsAsAsked) {
  const ExactSolution x = value_iteration(*loop(1), {.gamma = 0.5, .most_iterations = 3});
  EXPECT_EQ(x.iterations, 3);
  EXPECT_EQ(x.V[0], 1.75);
  EXPECT_EQ(x.Q(0, 0), 1.875);
}

TEST(BestEpsilonSoft, IsBestAmongPoliciesThatExploreSoMuch) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    const auto mdp = random_mdp({.seed = seed});
    for (const double eps : {0.0, 0.1, 0.5, 1.0}) {
      const ExactSolution x = best_epsilon_soft(*mdp, 0.9, eps);
      expect_near(evaluate_policy(*mdp, first_greedy_policy(x.Q, eps), 0.9), x.V, 1e-10);
      const Table other = epsilon_greedy_policy(random_policy(*mdp, seed), eps);
      const std::vector<double> V = evaluate_policy(*mdp, other, 0.9);
      for (size_t s = 0; s < V.size(); ++s) EXPECT_LE(V[s], x.V[s] + 1e-10);
    }
  }
}

// The share of visits, counted by walking. The chain forgets where it came from, so that 100 000 steps leave an error
// of about 0.003.
TEST(StationaryDistribution, IsTheShareOfVisits) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    SCOPED_TRACE(seed);
    const auto mdp = random_mdp({.seed = seed, .ends = 0.05});
    const Table pi = random_policy(*mdp, seed);
    const std::vector<double> d = stationary_distribution(*mdp, pi);
    env::FiniteEnv env = env_of(mdp, 0);
    Rng rng(seed, Purpose::test, 2);
    constexpr int kSteps = 100'000;
    std::vector<double> share(d.size(), 0.0);
    int64_t s = env.begin(rng);
    for (int t = 0; t < kSteps; ++t) {
      share[static_cast<size_t>(s)] += 1.0 / kSteps;
      const auto m = env.move(draw(pi[s], rng), rng);
      s = m.terminated ? env.begin(rng) : m.next;
    }
    expect_near(share, d, 0.012);
  }
}

// A walk of three states visits the middle at every other step.
TEST(StationaryDistribution, OfARandomWalkBeginsAgainInTheMiddle) {
  const auto walk = env::random_walk({.states = 3});
  expect_near(stationary_distribution(*walk, uniform_policy(5, 1)), {0.25, 0.5, 0.25, 0, 0}, 1e-14);
}

TEST(StationaryDistribution, RefusesAChainOfTwoParts) {
  env::FiniteMdp::Definition d{.n_states = 2, .n_actions = 1, .start = {0.5, 0.5}};
  d.outcomes = {{{.next = 0}}, {{.next = 1}}};
  const env::FiniteMdp mdp(std::move(d));
  EXPECT_GRADUS_ERROR(stationary_distribution(mdp, uniform_policy(2, 1)), invalid_argument, "singular");
}

}  // namespace
}  // namespace gradus::rl
