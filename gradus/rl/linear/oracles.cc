#include "gradus/rl/linear/oracles.h"

#include <algorithm>
#include <cmath>

#include "gradus/core/error.h"
#include "gradus/rl/linear_system.h"
#include "gradus/rl/tabular/dynamic_programming.h"

namespace gradus::rl {

namespace {

using std::vector;

// Solves (X^T D Y) w = X^T D y.
//   X, Y  [n_states, n];  d, y  [n_states]
vector<double> solve_weighted(const Table& X, const Table& Y, const vector<double>& d, const vector<double>& y) {
  const int64_t n = X.n_actions();
  LinearSystem system(n);
  for (int64_t s = 0; s < X.n_states(); ++s) {
    const double weight = d[static_cast<size_t>(s)];
    for (int64_t i = 0; i < n && weight > 0; ++i) {
      const double x = weight * X(s, i);
      for (int64_t j = 0; j < n; ++j) system.row(i)[static_cast<size_t>(j)] += x * Y(s, j);
      system.right(i) += x * y[static_cast<size_t>(s)];
    }
  }
  return system.solve();
}

double weighted_square(const vector<double>& d, const vector<double>& x) {
  double sum = 0;
  for (size_t s = 0; s < x.size(); ++s) sum += d[s] * x[s] * x[s];
  return sum;
}

}  // namespace

LinearOracle::LinearOracle(const env::FiniteMdp& mdp, const Table& pi, Table phi, vector<double> d, double gamma)
    : phi_(std::move(phi)), d_(std::move(d)), r_(d_.size(), 0.0), v_(evaluate_policy(mdp, pi, gamma)) {
  const int64_t n_states = mdp.n_states();
  require(phi_.n_states() == n_states && static_cast<int64_t>(d_.size()) == n_states,
          "linear oracle: features of {} and weights of {} states, but there are {}", phi_.n_states(), d_.size(),
          n_states);
  for (int64_t s = 0; s < n_states; ++s) {
    require(d_[static_cast<size_t>(s)] >= 0, "linear oracle: the weight of {} is {}, but must not be negative",
            mdp.state_name(s), d_[static_cast<size_t>(s)]);
    counts_.push_back(!mdp.is_terminal(s));
    if (mdp.is_terminal(s)) std::ranges::fill(phi_[s], 0.0);
  }
  residual_ = phi_;
  for (int64_t s = 0; s < n_states; ++s) {
    for (int64_t a = 0; a < mdp.n_actions(); ++a) {
      for (const env::Outcome& o : mdp.outcomes(s, a)) {
        const double p = pi(s, a) * o.probability;
        r_[static_cast<size_t>(s)] += p * o.reward;
        for (int64_t i = 0; i < phi_.n_actions() && !o.terminated; ++i) residual_(s, i) -= gamma * p * phi_(o.next, i);
      }
    }
  }
}

vector<double> LinearOracle::times(const Table& matrix, const vector<double>& w) {
  require(static_cast<int64_t>(w.size()) == matrix.n_actions(), "linear oracle: {} weights for {} features", w.size(),
          matrix.n_actions());
  vector<double> y;
  for (int64_t s = 0; s < matrix.n_states(); ++s) {
    double sum = 0;
    for (size_t i = 0; i < w.size(); ++i) sum += matrix[s][i] * w[i];
    y.push_back(sum);
  }
  return y;
}

vector<double> LinearOracle::bellman_residual(const vector<double>& w) const {
  vector<double> delta = times(residual_, w);
  for (size_t s = 0; s < delta.size(); ++s) delta[s] = r_[s] - delta[s];
  return delta;
}

vector<double> LinearOracle::td_fixed_point() const {
  return solve_weighted(phi_, residual_, d_, r_);  // (9.12)
}

vector<double> LinearOracle::least_value_error() const {
  return solve_weighted(phi_, phi_, d_, v_);
}

vector<double> LinearOracle::least_bellman_error() const {
  return solve_weighted(residual_, residual_, d_, r_);
}

// Pi delta is the best fit of r less the best fits of the columns of (I - gamma P) Phi: least squares among these.
vector<double> LinearOracle::least_projected_bellman_error() const {
  Table projected = residual_;
  vector<double> column(d_.size());
  for (int64_t i = 0; i < residual_.n_actions(); ++i) {
    for (size_t s = 0; s < column.size(); ++s) column[s] = residual_(static_cast<int64_t>(s), i);
    const vector<double> fit = times(phi_, solve_weighted(phi_, phi_, d_, column));
    for (size_t s = 0; s < column.size(); ++s) projected(static_cast<int64_t>(s), i) = fit[s];
  }
  return solve_weighted(projected, projected, d_, r_);
}

double LinearOracle::value_error(const vector<double>& w) const {
  vector<double> error = times(phi_, w);
  for (size_t s = 0; s < error.size(); ++s) error[s] -= v_[s];
  return weighted_square(d_, error);
}

double LinearOracle::bellman_error(const vector<double>& w) const {
  return weighted_square(d_, bellman_residual(w));
}

double LinearOracle::projected_bellman_error(const vector<double>& w) const {
  return weighted_square(d_, times(phi_, solve_weighted(phi_, phi_, d_, bellman_residual(w))));
}

double LinearOracle::rmse(const vector<double>& w) const {
  const vector<double> approximate = times(phi_, w);
  double sum = 0;
  int64_t n = 0;
  for (size_t s = 0; s < approximate.size(); ++s) {
    if (!counts_[s]) continue;
    sum += (approximate[s] - v_[s]) * (approximate[s] - v_[s]);
    ++n;
  }
  return n == 0 ? 0 : std::sqrt(sum / static_cast<double>(n));
}

}  // namespace gradus::rl
