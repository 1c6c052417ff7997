// What can be reached in the environments of the textbooks, exactly.
#include <gtest/gtest.h>

#include <numeric>

#include "gradus/env/blackjack.h"
#include "gradus/env/cliff_walking.h"
#include "gradus/env/frozen_lake.h"
#include "gradus/env/taxi.h"
#include "gradus/env/windy_grid_world.h"
#include "gradus/rl/tabular/dynamic_programming.h"

namespace gradus::rl {
namespace {

using env::blackjack_state;
using env::BlackjackHand;
using env::FiniteMdp;

// The mean over the starts.
double from_start(const FiniteMdp& mdp, const std::vector<double>& V) {
  return std::inner_product(V.begin(), V.end(), mdp.start().begin(), 0.0);
}

double optimum(const FiniteMdp& mdp) {
  return from_start(mdp, value_iteration(mdp, {.gamma = 1}).V);
}

// Within so many steps: as many sweeps of value iteration, which begins at 0.
double optimum_within(const FiniteMdp& mdp, int64_t steps) {
  return from_start(mdp, finite_horizon_values(mdp, 1, steps));
}

// All of a state's probability on one action.
Table deterministic(int64_t n_states, int64_t n_actions, auto action_of) {
  Table pi(n_states, n_actions);
  for (int64_t s = 0; s < n_states; ++s) pi(s, action_of(s)) = 1;
  return pi;
}

Table mixed_with_uniform(Table pi, double eps) {
  for (double& p : pi.values()) p = (1 - eps) * p + eps / static_cast<double>(pi.n_actions());
  return pi;
}

TEST(CliffWalkingOptima, TheBestWayCostsThirteen) {
  EXPECT_EQ(optimum(*env::cliff_walking({})), -13);
}

// What Q-learning's behaviour earns in the end: it is optimal but for exploring, and so falls. How often depends on
// where it goes once it has strayed upwards, where right and down are equally good to who does not explore.
double online(const Table& pi) {
  const auto mdp = env::cliff_walking({});
  return from_start(*mdp, evaluate_policy(*mdp, pi, 1));
}
constexpr double kTie = 1e-9;

TEST(CliffWalkingOptima, ExploringOnTheEdgePathButStayingAwayOnceAway) {
  const Table Q = value_iteration(*env::cliff_walking({}), {.gamma = 1}).Q;
  EXPECT_NEAR(online(first_greedy_policy(Q, 0.1, kTie)), -45.8033, 5e-5);  // right stands before down
}

TEST(CliffWalkingOptima, ExploringOnTheEdgePathAndComingBackAtOnce) {
  constexpr int64_t kUp = 0, kRight = 1, kDown = 2;
  const Table edge = deterministic(48, 4, [](int64_t s) {
    const int64_t row = s / 12, column = s % 12;
    if (row == 3) return kUp;
    return column == 11 || row < 2 ? kDown : kRight;
  });
  EXPECT_NEAR(online(mixed_with_uniform(edge, 0.1)), -51.8132, 5e-5);
}

TEST(CliffWalkingOptima, ExploringOnTheEdgePathWithTiesBrokenAtRandom) {
  const Table Q = value_iteration(*env::cliff_walking({}), {.gamma = 1}).Q;
  EXPECT_NEAR(online(epsilon_greedy_policy(Q, 0.1, kTie)), -50.80005, 5e-6);
}

TEST(CliffWalkingOptima, TheBestEpsilonSoftPolicyKeepsAway) {
  const auto mdp = env::cliff_walking({});
  EXPECT_NEAR(from_start(*mdp, best_epsilon_soft(*mdp, 1, 0.1).V), -20.7, 0.05);
}

TEST(WindyGridWorldOptima, FourMovesNeedFifteenSteps) {
  EXPECT_EQ(optimum(*env::windy_grid_world({})), -15);
}

TEST(WindyGridWorldOptima, KingsMovesNeedSeven) {
  EXPECT_EQ(optimum(*env::windy_grid_world({.kings_moves = true})), -7);
}

TEST(WindyGridWorldOptima, StayingDoesNotHelp) {
  EXPECT_EQ(optimum(*env::windy_grid_world({.kings_moves = true, .stay = true})), -7);
}

TEST(FrozenLakeOptima, FourByFourWithinGymnasiumsLimit) {
  EXPECT_NEAR(optimum_within(*env::frozen_lake({}), 100), 0.7442, 5e-5);
}

TEST(FrozenLakeOptima, FourByFourWithoutALimit) {
  EXPECT_NEAR(optimum(*env::frozen_lake({})), 14.0 / 17, 1e-9);  // .8235
}

TEST(FrozenLakeOptima, EightByEightWithinGymnasiumsLimit) {
  EXPECT_NEAR(optimum_within(*env::frozen_lake({.map = "8x8"}), 200), 0.9132, 5e-5);
}

TEST(TaxiOptima, TheMeanOverTheStarts) {
  EXPECT_NEAR(optimum(*env::taxi()), 7.93, 0.005);
}

TEST(TaxiOptima, TheTimeLimitOf200TakesNothing) {
  EXPECT_EQ(optimum_within(*env::taxi(), 200), optimum(*env::taxi()));
}

constexpr int64_t kStick = static_cast<int64_t>(env::BlackjackAction::stick);
constexpr int64_t kHit = static_cast<int64_t>(env::BlackjackAction::hit);

double value_at(const std::vector<double>& V, const BlackjackHand& hand) {
  return V[static_cast<size_t>(blackjack_state(hand))];
}

// Sticks on 20 and 21 alone: the policy of example 5.1.
Table stick_on_20() {
  Table pi = deterministic(291, 2, [](int64_t) { return kHit; });
  const auto stick = [&](const BlackjackHand& hand) {
    const int64_t s = blackjack_state(hand);
    pi(s, kStick) = 1;
    pi(s, kHit) = 0;
  };
  for (int64_t dealer = 1; dealer <= 10; ++dealer) {
    for (const int64_t sum : {20, 21}) {
      stick({.sum = sum, .usable_ace = false, .dealer = dealer});
      stick({.sum = sum, .usable_ace = true, .dealer = dealer});
    }
    stick({.sum = 21, .usable_ace = true, .dealer = dealer, .natural = true});
  }
  return pi;
}

// The state of figure 5.3, of which the book estimates -0.27726.
TEST(BlackjackOptima, StickOn20AtThirteenWithAnAceAgainstTwo) {
  const std::vector<double> V = evaluate_policy(*env::blackjack({}), stick_on_20(), 1);
  EXPECT_NEAR(value_at(V, {.sum = 13, .usable_ace = true, .dealer = 2}), -0.27720, 5e-6);
}

TEST(BlackjackOptima, StickOn20FromTheDeal) {
  const auto mdp = env::blackjack({.natural = "sab"});
  EXPECT_NEAR(from_start(*mdp, evaluate_policy(*mdp, stick_on_20(), 1)), -0.3501, 5e-5);
}

TEST(BlackjackOptima, TheGameFromTheDeal) {
  EXPECT_NEAR(optimum(*env::blackjack({.natural = "sab"})), -0.0431, 5e-5);
  EXPECT_NEAR(optimum(*env::blackjack({.natural = "none"})), -0.0466, 5e-5);
}

TEST(BlackjackOptima, ValuesOfSomeHands) {
  const std::vector<double> V = value_iteration(*env::blackjack({}), {.gamma = 1}).V;
  EXPECT_NEAR(value_at(V, {.sum = 20, .dealer = 10}), 0.435, 5e-4);
  EXPECT_NEAR(value_at(V, {.sum = 16, .dealer = 10}), -0.569, 5e-4);
  EXPECT_NEAR(value_at(V, {.sum = 12, .usable_ace = true, .dealer = 1}), -0.268, 5e-4);
  EXPECT_NEAR(value_at(V, {.sum = 21, .dealer = 7}), 0.926, 5e-4);
  EXPECT_NEAR(value_at(V, {.sum = 21, .usable_ace = true, .dealer = 7}), 0.926, 5e-4);
}

// Figure 5.2: the lowest sum on which to stick, by the dealer's card.
int64_t stick_from(int64_t dealer, bool usable_ace) {
  const bool low = dealer >= 2 && dealer <= 6;
  if (usable_ace) return dealer == 1 || dealer >= 9 ? 19 : 18;
  return !low ? 17 : dealer <= 3 ? 13 : 12;
}

TEST(BlackjackOptima, TheBestPolicyIsTheBooks) {
  const Table Q = value_iteration(*env::blackjack({}), {.gamma = 1}).Q;
  for (int64_t dealer = 1; dealer <= 10; ++dealer) {
    for (const bool usable_ace : {false, true}) {
      for (int64_t sum = 12; sum <= 21; ++sum) {
        const int64_t s = blackjack_state({.sum = sum, .usable_ace = usable_ace, .dealer = dealer});
        EXPECT_EQ(Q(s, kStick) > Q(s, kHit), sum >= stick_from(dealer, usable_ace))
            << sum << (usable_ace ? " soft" : " hard") << " against " << dealer << ": " << Q(s, kStick) << " or "
            << Q(s, kHit);
      }
    }
  }
}

TEST(BlackjackOptima, BelowTwelveOneHits) {
  const Table Q = value_iteration(*env::blackjack({}), {.gamma = 1}).Q;
  for (int64_t dealer = 1; dealer <= 10; ++dealer) {
    for (int64_t sum = 4; sum < 12; ++sum) {
      const int64_t s = blackjack_state({.sum = sum, .dealer = dealer});
      EXPECT_GT(Q(s, kHit), Q(s, kStick)) << sum << " against " << dealer;
    }
  }
}

}  // namespace
}  // namespace gradus::rl
