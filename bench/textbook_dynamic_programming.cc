// Zhao's tables of exact values: optimal values (Figs. 3.4, 5.6, 5.7), the uniform policy (Fig. 8.6), MC Basic
// (Fig. 5.4).
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <string_view>

#include "bench/textbook.h"
#include "gradus/env/grid_world.h"
#include "gradus/rl/tabular/dynamic_programming.h"
#include "gradus/rl/tabular/learner.h"
#include "gradus/rl/trial.h"

namespace gradus::bench {

namespace {

using rl::Table;

constexpr double kHalfDigit = 0.05 + 1e-9;  // the books print one decimal

// The rows of a printed table, 25 numbers.
std::vector<double> numbers(std::string_view text) {
  std::vector<double> out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    if (end > at) out.push_back(std::stod(std::string(text.substr(at, end - at))));
    at = end + 1;
  }
  return out;
}

struct Printed {
  std::string_view table, about, values;
};

void compare(const Printed& p, const std::vector<double>& V, const TextbookSink& sink, std::string_view misprint = "") {
  const std::vector<double> book = numbers(p.values);
  for (size_t s = 0; s < book.size(); ++s) {
    TextbookCell cell{.table = std::string(p.table),
                      .about = std::string(p.about),
                      .cell = fmt::format("({}, {})", s / 5 + 1, s % 5 + 1),
                      .book = book[s],
                      .ours = V[s],
                      .allowed = kHalfDigit};
    if (cell.cell == misprint) {
      cell.allowed = 0.1;
      cell.remark = "a misprint: the other 149 cells of Figs. 5.6 and 5.7 agree";
    }
    sink(cell);
  }
}

// Fig. 5.5: episodes of a million steps, each by the eps-greedy policy of the one before, beside policy iteration with
// exact values: how far the policy is from the best eps-greedy one in its worst state.
void million_step_episodes(const std::shared_ptr<const env::FiniteMdp>& mdp, const std::vector<double>& best,
                           const TextbookSink& sink) {
  constexpr double kEps = 0.5, kGamma = 0.9;
  const auto lacks = [&](const Table& Q) {
    const auto V = rl::evaluate_policy(*mdp, rl::epsilon_greedy_policy(Q, kEps, 1e-9), kGamma);
    double worst = 0;
    for (size_t s = 0; s < V.size(); ++s) worst = std::max(worst, best[s] - V[s]);
    return worst;
  };
  rl::Trial trial(env::FiniteEnv(mdp, {.id = "grid", .max_episode_steps = 1'000'000}), "mc-epsilon-greedy",
                  {.eps = kEps, .visits = "every", .forget_returns = true}, 1);
  Table pi = rl::uniform_policy(mdp->n_states(), mdp->n_actions());
  for (int k = 1; k <= 3; ++k) {
    const Table exact = rl::action_values_of(*mdp, rl::evaluate_policy(*mdp, pi, kGamma), kGamma);
    trial.run(1);
    sink({"Zhao 5.5, learned", "MC eps-greedy, episodes of a million steps: what the policy lacks in its worst state",
          fmt::format("after {} of them", k), lacks(exact), lacks(trial.agent().Q()), 0.1,
          "beside exact policy iteration from the uniform policy; actions may differ by .02 in value"});
    pi = rl::epsilon_greedy_policy(exact, kEps, 1e-9);
  }
}

// Values of the eps-greedy policy around the optimal one, and of the best eps-greedy policy.
void soft_tables(const TextbookSink& sink) {
  const auto mdp = env::grid_world({.reward_forbidden = -10, .bounce_pays_cell = true});
  // Of the optimal policies the one that stays best with a little chance: the book draws it in Fig. 5.6a.
  const Table Q = rl::best_epsilon_soft(*mdp, 0.9, 1e-6).Q;
  const auto around = [&](double eps) { return rl::evaluate_policy(*mdp, rl::epsilon_greedy_policy(Q, eps), 0.9); };
  const auto best = [&](double eps) { return rl::best_epsilon_soft(*mdp, 0.9, eps).V; };
  constexpr Printed k56b{"Zhao 5.6b", "eps .1 around the optimal policy",
                         ".4 .5 .9 1.3 1.4 .1 0 .5 1.3 1.7 .1 -.4 3.4 1.4 1.9 -.1 3.4 3.3 3.7 2.2 -.3 2.6 3.7 3.1 2.7"};
  compare(k56b, around(0.1), sink);
  compare({"Zhao 5.7b", "the best eps-greedy policy, eps .1", k56b.values}, best(0.1), sink);
  const auto plain = env::grid_world({});
  const auto best_half = rl::best_epsilon_soft(*plain, 0.9, 0.5).V;
  compare({"Zhao 5.5", "the best eps-greedy policy, eps .5, forbidden cells -1",
           "-.3 -.3 -.1 .2 0 0 .2 .4 .5 .3 .4 .6 2.1 .9 .6 .6 2.1 2.4 2.3 .9 .2 1.5 2.4 1.7 1.1"},
          best_half, sink);
  million_step_episodes(plain, best_half, sink);
  compare(
      {"Zhao 5.6c", "eps .2 around the optimal policy",
       "-2.2 -2.4 -2.1 -1.7 -1.8 -2.5 -3.0 -3.3 -2.3 -2.0 -2.3 -3.3 -2.5 -2.8 -2.2 -2.5 -2.5 -2.8 -2.0 -2.4 -2.8 -3.2 "
       "-2.1 -2.3 -2.2"},
      around(0.2), sink);
  compare(
      {"Zhao 5.7c", "the best eps-greedy policy, eps .2",
       "-1.1 -1.5 -1.1 -.6 -.6 -1.5 -2.2 -2.3 -1.0 -.6 -1.1 -2.4 -2.2 -1.5 -.6 -1.6 -2.3 -2.6 -1.4 -1.1 -2.0 -3.0 -1.8 "
       "-1.4 -1.0"},
      best(0.2), sink, "(3, 1)");
  compare(
      {"Zhao 5.6d", "eps .5 around the optimal policy",
       "-8.0 -9.0 -8.4 -7.2 -7.8 -8.7 -10.8 -12.4 -9.6 -8.9 -8.3 -12.3 -15.3 -12.3 -10.5 -9.7 -15.5 -17.0 -14.4 -12.2 "
       "-10.9 -16.7 -15.2 -14.3 -12.4"},
      around(0.5), sink);
  compare(
      {"Zhao 5.7d", "the best eps-greedy policy, eps .5",
       "-4.3 -5.5 -4.5 -2.6 -2.3 -5.6 -7.7 -7.7 -4.1 -2.4 -5.5 -9.0 -8.0 -5.6 -2.8 -6.8 -8.9 -9.4 -5.5 -4.2 -7.9 -10.1 "
       "-6.7 -5.1 -3.7"},
      best(0.5), sink);
}

void optimal_tables(const TextbookSink& sink) {
  const auto optimum = [](double gamma, double reward_forbidden) {
    return rl::value_iteration(*env::grid_world({.reward_forbidden = reward_forbidden}), {.gamma = gamma}).V;
  };
  compare({"Zhao 3.4a", "optimal values, gamma .9",
           "5.8 5.6 6.2 6.5 5.8 6.5 7.2 8.0 7.2 6.5 7.2 8.0 10 8.0 7.2 8.0 10 10 10 8.0 7.2 9.0 10 9.0 8.1"},
          optimum(0.9, -1), sink);
  compare({"Zhao 3.4b", "optimal values, gamma .5", "0 0 0 0 0 0 0 0 0 .1 0 0 2 .1 .1 0 2 2 2 .2 0 1 2 1 .5"},
          optimum(0.5, -1), sink);
  compare({"Zhao 3.4c", "optimal values, gamma 0", "0 0 0 0 0 0 0 0 0 0 0 0 1 0 0 0 1 1 1 0 0 0 1 0 0"}, optimum(0, -1),
          sink);
  compare({"Zhao 3.4d", "optimal values, gamma .9, forbidden cells -10",
           "3.5 3.9 4.3 4.8 5.3 3.1 3.5 4.8 5.3 5.9 2.8 2.5 10 5.9 6.6 2.5 10 10 10 7.3 2.3 9.0 10 9.0 8.1"},
          optimum(0.9, -10), sink);
  const auto mdp = env::grid_world({});
  compare(
      {"Zhao 8.6b", "values of the uniform policy",
       "-3.8 -3.8 -3.6 -3.1 -3.2 -3.8 -3.8 -3.8 -3.1 -2.9 -3.6 -3.9 -3.4 -3.2 -2.9 -3.9 -3.6 -3.4 -2.9 -3.2 -4.5 -4.2 "
       "-3.4 -3.4 -3.5"},
      rl::evaluate_policy(*mdp, rl::uniform_policy(25, 5), 0.9), sink);
}

// Fig. 5.4: MC Basic with episodes of N steps ends at N steps of value iteration from 0.
void mc_basic_tables(const TextbookSink& sink) {
  const auto mdp = env::grid_world({.reward_forbidden = -10});
  struct Known {
    int64_t length;
    int64_t row, column;
    double value;
  };
  constexpr std::array kPrinted = {Known{4, 4, 3, 3.4},  Known{4, 5, 5, 1.5},  Known{14, 4, 1, 0.3},
                                   Known{14, 5, 1, 0.0}, Known{15, 5, 1, 0.2}, Known{30, 1, 1, 3.1}};
  for (const int64_t length : {1, 2, 3, 4, 14, 15, 30, 100}) {
    rl::LearnerConfig config{.episode_length = length};
    const auto learner = rl::make_learner("mc-basic", *mdp, config);
    env::FiniteEnv env(mdp, {.id = "grid"});
    std::vector<double> V;
    for (int k = 0; k < 100; ++k) {
      Rng rng(1, Purpose::sample, static_cast<uint64_t>(k));
      learner->episode(env, rng);
    }
    V = learner->V();
    const auto exact = rl::finite_horizon_values(*mdp, 0.9, length);
    const std::string table = fmt::format("Zhao 5.4, N = {}", length);
    for (size_t s = 0; s < V.size(); ++s) {
      sink({.table = table,
            .about = "MC Basic with episodes of N steps, beside N steps of value iteration",
            .cell = fmt::format("({}, {})", s / 5 + 1, s % 5 + 1),
            .book = exact[s],
            .ours = V[s],
            .allowed = 1e-9});
    }
    for (const Known& k : kPrinted) {
      if (k.length != length) continue;
      sink({.table = table + ", printed",
            .about = "the same beside what the book prints",
            .cell = fmt::format("({}, {})", k.row, k.column),
            .book = k.value,
            .ours = V[static_cast<size_t>((k.row - 1) * 5 + k.column - 1)],
            .allowed = kHalfDigit});
    }
  }
}

}  // namespace

void textbook_dynamic_programming(const TextbookOptions&, const TextbookSink& sink) {
  optimal_tables(sink);
  soft_tables(sink);
  mc_basic_tables(sink);
}

}  // namespace gradus::bench
