// Exact solutions of finite Markov decision processes: the oracles that every learning algorithm is measured against.
// Notation: V [n_states], Q and pi [n_states, n_actions]; gamma as in the books. Values of terminal states are 0.
#pragma once

#include <cstdint>
#include <vector>

#include "gradus/env/finite_mdp.h"
#include "gradus/rl/tabular/table.h"

namespace gradus::rl {

// Q(s, a) = sum_{s', r} p(s', r | s, a) (r + gamma V(s')), V(s') = 0 after a termination. Sutton & Barto, eq. (4.6).
Table action_values_of(const env::FiniteMdp& mdp, const std::vector<double>& V, double gamma);

struct ExactSolution {
  std::vector<double> V;
  Table Q;
  int64_t iterations = 0;
};

// V_{k+1}(s) = max_a Q_k(s, a), from 0, until no value changes by more than `tolerance`, or `most_iterations` are done.
// Zhao, Algorithm 4.1; Sutton & Barto, section 4.4. Throws diverged when, with gamma = 1, values still change after
// `most_iterations`: some episode never ends.
struct ValueIterationConfig {
  double gamma = 0.9;
  double tolerance = 1e-12;
  int64_t most_iterations = 1'000'000;
};
ExactSolution value_iteration(const env::FiniteMdp& mdp, const ValueIterationConfig& config);

// The optimum within `steps` steps, after which nothing more is earned: as many steps of value iteration from 0. The
// policy that reaches it may depend on the step. Sutton & Barto, section 4.4.
std::vector<double> finite_horizon_values(const env::FiniteMdp& mdp, double gamma, int64_t steps);

// The values of policy pi: the solution of (I - gamma P_pi) V = r_pi by Gaussian elimination. Zhao, eq. (2.21); Sutton
// & Barto, section 4.1. Cost: n_states^3 / 3 multiply-adds. Throws invalid_argument when a row of pi is negative or
// does not sum to one, diverged when V is not finite: with gamma = 1 a policy under which some episode never ends.
std::vector<double> evaluate_policy(const env::FiniteMdp& mdp, const Table& pi, double gamma);

// Alternates evaluation and greedy improvement until no value changes by more than `tolerance`, or nothing is better.
// `sweeps` > 0 evaluates by so many sweeps from the last values instead of exactly: truncated policy iteration, Zhao,
// Algorithm 4.3; 0 is policy iteration, Algorithm 4.2. Throws diverged as the other two do.
struct PolicyIterationConfig {
  double gamma = 0.9;
  int64_t sweeps = 0;
  double tolerance = 1e-12;
};
ExactSolution policy_iteration(const env::FiniteMdp& mdp, const PolicyIterationConfig& config);

// The best policy among those that give every action at least eps / n_actions: values V(s) = (1 - eps) max_a Q(s, a) +
// eps mean_a Q(s, a). Zhao, section 5.5 ("optimal eps-greedy policies").
ExactSolution best_epsilon_soft(const env::FiniteMdp& mdp, double gamma, double eps);

// How far values are from solving their Bellman equation, as a root mean square over the states that are not terminal:
// of r_pi + gamma P_pi V - V for a policy's, and, over their actions, too, of r + gamma P max_a Q - Q for the
// optimum's. 0 is the solution. "Bellman error" in Sutton & Barto, section 11.4; Zhao, section 8.2.5.
double bellman_residual(const env::FiniteMdp& mdp, const Table& pi, const std::vector<double>& V, double gamma);
double optimality_residual(const env::FiniteMdp& mdp, const Table& Q, double gamma);

// How often states are visited in the long run under pi: d = d P_pi, sum 1. Zhao, section 8.2.1. Episodes that
// terminate begin again from mdp.start(). Throws invalid_argument when the chain has no single stationary distribution.
std::vector<double> stationary_distribution(const env::FiniteMdp& mdp, const Table& pi);

}  // namespace gradus::rl
