#include "gradus/rl/tabular/dynamic_programming.h"

#include <algorithm>
#include <cmath>

#include "gradus/core/error.h"
#include "gradus/rl/linear_system.h"

namespace gradus::rl {

namespace {

using env::FiniteMdp;
using env::Outcome;

constexpr double kTooLarge = 1e15;
constexpr int64_t kMostIterations = 100'000;  // of policy iteration; truncated, as many as value iteration takes

[[noreturn]] void fail_growing(std::string_view what, int64_t iterations, double gamma) {
  fail(ErrorCode::diverged,
       "{}: values grow without end or do not settle, at iteration {}; use gamma below {}, or an end that can be "
       "reached",
       what, iterations, gamma);
}

// Without a discount values may change by the same amount for ever. What rounding changes is not meant.
void check_settled(std::string_view what, const ExactSolution& x, double change, double gamma, double tolerance) {
  double largest = 0;
  for (const double v : x.V) largest = std::max(largest, std::abs(v));
  if (gamma == 1 && change > std::max(tolerance, 1e-12 * largest)) fail_growing(what, x.iterations, gamma);
}

double action_value(const FiniteMdp& mdp, const std::vector<double>& V, double gamma, int64_t s, int64_t a) {
  double q = 0;
  for (const Outcome& o : mdp.outcomes(s, a)) {
    q += o.probability * (o.terminated ? o.reward : o.reward + gamma * V[static_cast<size_t>(o.next)]);
  }
  return q;
}

// V <- sum_a weigh(Q(s, .)), state by state from the old V; returns the largest change.
template <class Weigh>
double sweep(const FiniteMdp& mdp, double gamma, std::vector<double>& V, Weigh weigh) {
  const Table Q = action_values_of(mdp, V, gamma);
  double change = 0;
  for (int64_t s = 0; s < mdp.n_states(); ++s) {
    if (mdp.is_terminal(s)) continue;
    double& v = V[static_cast<size_t>(s)];
    const double better = weigh(s, Q[s]);
    change = std::max(change, std::abs(better - v));
    v = better;
  }
  return change;
}

template <class Weigh>
ExactSolution iterate(const FiniteMdp& mdp, const ValueIterationConfig& c, Weigh weigh) {
  ExactSolution x{.V = std::vector<double>(static_cast<size_t>(mdp.n_states()), 0.0), .Q = {}};
  double change = c.tolerance + 1;
  for (; x.iterations < c.most_iterations && change > c.tolerance; ++x.iterations) {
    change = sweep(mdp, c.gamma, x.V, weigh);
    if (!(change < kTooLarge)) fail_growing("value iteration", x.iterations + 1, c.gamma);
  }
  check_settled("value iteration", x, change, c.gamma, c.tolerance);
  x.Q = action_values_of(mdp, x.V, c.gamma);
  return x;
}

// Row s of I - gamma P_pi, and r_pi(s).
void bellman_row(const FiniteMdp& mdp, const Table& pi, double gamma, int64_t s, std::span<double> row, double& r) {
  row[static_cast<size_t>(s)] += 1;
  for (int64_t a = 0; a < mdp.n_actions(); ++a) {
    for (const Outcome& o : mdp.outcomes(s, a)) {
      r += pi(s, a) * o.probability * o.reward;
      if (!o.terminated) row[static_cast<size_t>(o.next)] -= gamma * pi(s, a) * o.probability;
    }
  }
}

void check_policy(const FiniteMdp& mdp, const Table& pi) {
  require(pi.n_states() == mdp.n_states() && pi.n_actions() == mdp.n_actions(),
          "a policy of {} states x {} actions does not fit {} x {}", pi.n_states(), pi.n_actions(), mdp.n_states(),
          mdp.n_actions());
  for (int64_t s = 0; s < pi.n_states(); ++s) {
    double sum = 0;
    for (const double p : pi[s]) {
      require(p >= 0, "a probability of the policy in {} is {}", mdp.state_name(s), p);
      sum += p;
    }
    require(std::abs(sum - 1) < 1e-9, "the policy's probabilities in {} sum to {:.12g}, not to 1", mdp.state_name(s),
            sum);
  }
}

}  // namespace

Table action_values_of(const FiniteMdp& mdp, const std::vector<double>& V, double gamma) {
  Table Q(mdp.n_states(), mdp.n_actions());
  for (int64_t s = 0; s < mdp.n_states(); ++s) {
    for (int64_t a = 0; a < mdp.n_actions(); ++a) Q(s, a) = action_value(mdp, V, gamma, s, a);
  }
  return Q;
}

ExactSolution value_iteration(const FiniteMdp& mdp, const ValueIterationConfig& config) {
  return iterate(mdp, config, [](int64_t, std::span<const double> q) { return max_of(q); });
}

ExactSolution best_epsilon_soft(const FiniteMdp& mdp, double gamma, double eps) {
  return iterate(mdp, {.gamma = gamma}, [&](int64_t, std::span<const double> q) {
    double sum = 0;
    for (const double x : q) sum += x;
    return (1 - eps) * max_of(q) + eps * sum / static_cast<double>(q.size());
  });
}

std::vector<double> finite_horizon_values(const FiniteMdp& mdp, double gamma, int64_t steps) {
  std::vector<double> V(static_cast<size_t>(mdp.n_states()), 0.0);
  for (int64_t i = 0; i < steps; ++i) {
    sweep(mdp, gamma, V, [](int64_t, std::span<const double> q) { return max_of(q); });
  }
  return V;
}

std::vector<double> evaluate_policy(const FiniteMdp& mdp, const Table& pi, double gamma) {
  check_policy(mdp, pi);
  LinearSystem system(mdp.n_states());
  for (int64_t s = 0; s < mdp.n_states(); ++s) bellman_row(mdp, pi, gamma, s, system.row(s), system.right(s));
  std::vector<double> V;
  try {
    V = system.solve();
  } catch (const Error&) {  // singular; or nearly so, which rounding turns into huge values
  }
  const bool finite = !V.empty() && std::ranges::all_of(V, [](double v) { return std::abs(v) < kTooLarge; });
  if (!finite) {
    fail(
        ErrorCode::diverged,
        "evaluate_policy: with gamma {} some value is not finite: under this policy some episode never ends; use gamma "
        "below 1",
        gamma);
  }
  return V;
}

ExactSolution policy_iteration(const FiniteMdp& mdp, const PolicyIterationConfig& c) {
  ExactSolution x{.V = std::vector<double>(static_cast<size_t>(mdp.n_states()), 0.0), .Q = {}};
  x.Q = action_values_of(mdp, x.V, c.gamma);
  double change = c.tolerance + 1;
  for (; x.iterations < kMostIterations && change > c.tolerance; ++x.iterations) {
    const Table pi = epsilon_greedy_policy(x.Q, 0, 1e-12);
    const std::vector<double> before = x.V;
    if (c.sweeps == 0) {
      x.V = evaluate_policy(mdp, pi, c.gamma);
    } else {
      for (int64_t i = 0; i < c.sweeps; ++i) {
        sweep(mdp, c.gamma, x.V, [&](int64_t s, std::span<const double> q) {
          double v = 0;
          for (size_t a = 0; a < q.size(); ++a) v += pi(s, static_cast<int64_t>(a)) * q[a];
          return v;
        });
      }
    }
    x.Q = action_values_of(mdp, x.V, c.gamma);
    change = 0;
    double gain = 0;
    for (size_t s = 0; s < before.size(); ++s) {
      change = std::max(change, std::abs(x.V[s] - before[s]));
      gain += x.V[s] - before[s];
    }
    if (!(change < kTooLarge)) fail_growing("policy iteration", x.iterations + 1, c.gamma);
    // A better policy is better in every state; one that is not, in sum, differs by rounding, and would alternate.
    if (c.sweeps == 0 && x.iterations > 0 && gain <= 0) return x;
  }
  check_settled("policy iteration", x, change, c.gamma, c.tolerance);
  return x;
}

double bellman_residual(const FiniteMdp& mdp, const Table& pi, const std::vector<double>& V, double gamma) {
  const std::vector<double> target = values_of(pi, action_values_of(mdp, V, gamma));
  double squares = 0, n = 0;
  for (int64_t s = 0; s < mdp.n_states(); ++s) {
    if (mdp.is_terminal(s)) continue;
    const double residual = target[static_cast<size_t>(s)] - V[static_cast<size_t>(s)];
    squares += residual * residual;
    ++n;
  }
  return std::sqrt(squares / std::max(1.0, n));
}

double optimality_residual(const FiniteMdp& mdp, const Table& Q, double gamma) {
  const Table target = action_values_of(mdp, greatest_values(Q), gamma);
  double squares = 0, n = 0;
  for (int64_t s = 0; s < mdp.n_states(); ++s) {
    for (int64_t a = 0; a < mdp.n_actions() && !mdp.is_terminal(s); ++a, ++n) {
      squares += (target(s, a) - Q(s, a)) * (target(s, a) - Q(s, a));
    }
  }
  return std::sqrt(squares / std::max(1.0, n));
}

std::vector<double> stationary_distribution(const FiniteMdp& mdp, const Table& pi) {
  check_policy(mdp, pi);
  const int64_t n = mdp.n_states();
  // d (P - I) = 0, column by column, the last equation replaced by sum d = 1.
  LinearSystem system(n);
  for (int64_t s = 0; s < n; ++s) {
    const auto flow = [&](int64_t to, double p) {
      if (to != n - 1) system.row(to)[static_cast<size_t>(s)] += p;
    };
    flow(s, -1);
    const auto begin_again = [&](double p) {
      for (int64_t to = 0; to < n; ++to) flow(to, p * mdp.start()[static_cast<size_t>(to)]);
    };
    if (mdp.is_terminal(s)) begin_again(1);
    for (int64_t a = 0; a < mdp.n_actions(); ++a) {
      for (const Outcome& o : mdp.outcomes(s, a)) {
        const double p = pi(s, a) * o.probability;
        if (o.terminated) {
          begin_again(p);
        } else {
          flow(o.next, p);
        }
      }
    }
    system.row(n - 1)[static_cast<size_t>(s)] = 1;
  }
  system.right(n - 1) = 1;
  return system.solve();
}

}  // namespace gradus::rl
