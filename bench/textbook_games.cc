// Sutton & Barto's blackjack, cliff and wind, and Gymnasium's toy texts: exact values, and what Q-learning reaches.
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <map>

#include "bench/textbook.h"
#include "bench/textbook_trials.h"
#include "gradus/env/blackjack.h"
#include "gradus/env/cliff_walking.h"
#include "gradus/env/frozen_lake.h"
#include "gradus/env/taxi.h"
#include "gradus/env/windy_grid_world.h"
#include "gradus/rl/tabular/dynamic_programming.h"

namespace gradus::bench {

namespace {

using env::BlackjackHand;
using env::FiniteMdp;
using rl::Table;

double start_value(const FiniteMdp& mdp, const std::vector<double>& V) {
  double sum = 0;
  for (size_t s = 0; s < V.size(); ++s) sum += mdp.start()[s] * V[s];
  return sum;
}

double value_of(const std::vector<double>& V, const BlackjackHand& hand) {
  return V[static_cast<size_t>(env::blackjack_state(hand))];
}

// Sticks on 20 and 21.
Table careless_policy(const FiniteMdp& mdp) {
  Table pi(mdp.n_states(), 2);
  for (int64_t s = 0; s < mdp.n_states(); ++s) pi(s, 1) = 1;
  for (int64_t dealer = 1; dealer <= 10; ++dealer) {
    for (const BlackjackHand& h : {BlackjackHand{20, false, dealer},
                                   {20, true, dealer},
                                   {21, false, dealer},
                                   {21, true, dealer},
                                   {21, true, dealer, true}}) {
      pi(env::blackjack_state(h), 0) = 1;
      pi(env::blackjack_state(h), 1) = 0;
    }
  }
  return pi;
}

void blackjack_values(const TextbookSink& sink) {
  const auto sab = env::blackjack({.natural = "sab"}), none = env::blackjack({.natural = "none"});
  const auto careless = rl::evaluate_policy(*none, careless_policy(*none), 1);
  const std::string policy = "blackjack: the policy that sticks on 20 and 21";
  sink({"S&B 5.3", policy, "13 with ace against 2", -0.27720, value_of(careless, {13, true, 2}), 5e-6});
  sink({"S&B 5.1", policy, "from the deal", -0.3501,
        start_value(*sab, rl::evaluate_policy(*sab, careless_policy(*sab), 1)), 5e-5});
  const auto optimal_sab = rl::value_iteration(*sab, {.gamma = 1}), optimal = rl::value_iteration(*none, {.gamma = 1});
  const std::string best = "blackjack: optimal values";
  sink({"S&B 5.2", best, "from the deal, a natural beats 21", -0.0431, start_value(*sab, optimal_sab.V), 5e-5});
  sink({"S&B 5.2", best, "from the deal, a natural is a 21", -0.0466, start_value(*none, optimal.V), 5e-5});
  struct Known {
    BlackjackHand hand;
    double value;
  };
  for (const Known& k : {Known{{20, false, 10}, .435}, Known{{16, false, 10}, -.569}, Known{{12, true, 1}, -.268},
                         Known{{21, false, 7}, .926}, Known{{21, true, 7}, .926}}) {
    sink({"S&B 5.2", best,
          fmt::format("{}{} against {}", k.hand.sum, k.hand.usable_ace ? " with ace" : "", k.hand.dealer), k.value,
          value_of(optimal.V, k.hand), 5e-4});
  }
  // The least sum on which the optimal policy sticks.
  for (const bool ace : {false, true}) {
    for (int64_t dealer = 1; dealer <= 10; ++dealer) {
      const double book = ace ? (dealer == 1 || dealer >= 9 ? 19 : 18)
                              : (dealer == 1 || dealer >= 7 ? 17
                                 : dealer <= 3              ? 13
                                                            : 12);
      int64_t least = 12;
      while (optimal.Q(env::blackjack_state({least, ace, dealer}), 0) <
             optimal.Q(env::blackjack_state({least, ace, dealer}), 1))
        ++least;
      sink({"S&B 5.2, policy", "blackjack: the least sum on which to stick",
            fmt::format("{} against {}", ace ? "with ace" : "no ace", dealer), book, static_cast<double>(least), 0});
    }
  }
}

void cliff_and_wind(const TextbookOptions& o, const TextbookSink& sink) {
  const auto cliff = env::cliff_walking({});
  const std::string about = "cliff walking, eps .1: return from the start";
  const auto optimal = rl::value_iteration(*cliff, {.gamma = 1});
  sink({"S&B 6.6", about, "the optimum", -13, start_value(*cliff, optimal.V), 1e-9});
  const Table edge = rl::best_epsilon_soft(*cliff, 1, 1e-6).Q;
  const auto around_edge = rl::evaluate_policy(*cliff, rl::epsilon_greedy_policy(edge, 0.1, 1e-9), 1);
  sink({"S&B 6.6", about, "eps-greedy along the edge, exact", -45.8, start_value(*cliff, around_edge), 0.05});
  sink({"S&B 6.6", about, "the best eps-greedy policy, exact", -20.7,
        start_value(*cliff, rl::best_epsilon_soft(*cliff, 1, 0.1).V), 0.05});
  // What Q-learning earns while it learns, once it knows the way: its ties are broken at random, away from the edge,
  // too.
  const double random_ties =
      start_value(*cliff, rl::evaluate_policy(*cliff, rl::epsilon_greedy_policy(optimal.Q, 0.1, 1e-9), 1));
  auto trials = trials_of({cliff, {.id = "cliff"}}, "q-learning", {.gamma = 1, .alpha = 0.1}, o.seeds);
  rl::run_trials(trials, 5000);
  std::vector<double> returns;
  for (const rl::Trial& t : trials) {
    double sum = 0;
    for (size_t e = 4000; e < 5000; ++e) sum += t.episodes()[e].total_reward / 1000;
    returns.push_back(sum);
  }
  const rl::MeanOfSeeds m = rl::mean_of_seeds(returns);
  sink({"S&B 6.6", about, "Q-learning, episodes 4001 to 5000", random_ties, m.mean, 3 * m.standard_error,
        "beside the exact value with ties broken at random; with ties towards the edge it is the -45.8 above"});

  struct Known {
    env::WindyGridWorldConfig config;
    const char* what;
    double moves;
  };
  for (const Known& k : {Known{{}, "four moves", 15}, Known{{.kings_moves = true}, "king's moves", 7},
                         Known{{.kings_moves = true, .stay = true}, "king's moves and stay", 7}}) {
    const auto mdp = env::windy_grid_world(k.config);
    sink({"S&B 6.5", "windy grid world: moves of the shortest way", k.what, k.moves,
          -start_value(*mdp, rl::value_iteration(*mdp, {.gamma = 1}).V), 1e-9});
  }
}

// The expected return of a policy in episodes of at most `steps` steps.
double limited_value(const FiniteMdp& mdp, const Table& pi, int64_t steps) {
  std::vector<double> V(static_cast<size_t>(mdp.n_states()), 0.0);
  for (int64_t i = 0; i < steps; ++i) V = rl::values_of(pi, rl::action_values_of(mdp, V, 1));
  return start_value(mdp, V);
}

void toy_texts(const TextbookSink& sink) {
  const auto optimum = [](const FiniteMdp& mdp, int64_t steps) {
    return start_value(mdp, rl::finite_horizon_values(mdp, 1, steps));
  };
  // Q-learning over 4 seeds; the worst counts.
  const auto learned = [](const std::shared_ptr<const FiniteMdp>& mdp, int64_t steps, int64_t episodes,
                          rl::LearnerConfig c) {
    auto trials = trials_of({mdp, {.id = "toy", .max_episode_steps = steps}}, "q-learning", c, 4);
    rl::run_trials(trials, episodes);
    double worst = 1e9;
    for (const rl::Trial& t : trials) {
      worst = std::min(worst, limited_value(*mdp, rl::epsilon_greedy_policy(t.agent().Q(), 0, 1e-12), steps));
    }
    return worst;
  };
  const auto small = env::frozen_lake({}), large = env::frozen_lake({.map = "8x8"}), taxi = env::taxi();
  sink({"FrozenLake-v1", "slippery, 4x4", "optimum in 100 steps", .7442, optimum(*small, 100), 5e-5});
  sink({"FrozenLake-v1", "slippery, 4x4", "optimum without a limit", .8235, optimum(*small, 20000), 5e-5});
  sink({"FrozenLake-v1", "slippery, 4x4", "greedy policy of Q-learning", .7442,
        learned(small, 100, 200000, {.gamma = 0.999, .alpha = 1, .alpha_power = 0.6, .eps = 0.3, .q0 = 1}), .01});
  sink({"FrozenLake-v1", "slippery, 8x8", "optimum in 200 steps", .9132, optimum(*large, 200), 5e-5});
  sink({"FrozenLake-v1", "slippery, 8x8", "greedy policy of Q-learning", .9132,
        learned(large, 200, 250000, {.gamma = 0.995, .alpha = 1, .alpha_power = 0.6, .eps = 0.3, .q0 = 1}), .02,
        "the optimum knows the step; of policies that do not, value iteration finds .8936 at best"});
  sink({"Taxi-v3", "mean over the 300 starts", "optimum in 200 steps", 7.93, optimum(*taxi, 200), 5e-3});
  sink({"Taxi-v3", "mean over the 300 starts", "greedy policy of Q-learning", 7.93,
        learned(taxi, 200, 50000, {.gamma = 1, .alpha = 0.5, .eps = 0.1}), .05});
}

}  // namespace

void textbook_games(const TextbookOptions& options, const TextbookSink& sink) {
  blackjack_values(sink);
  cliff_and_wind(options, sink);
  toy_texts(sink);
}

}  // namespace gradus::bench
