// What linear values of a finite Markov decision process can and do reach: the exact minimisers of the three errors,
// and the TD fixed point, to which every learning algorithm here is compared. Notation: Phi [n_states, n] features by
// states, rows of terminal states 0; D = diag(d) how much each state counts; P, r of the policy, P without what
// terminates; v its values; ||x||^2 = sum_s d(s) x(s)^2. As in Zhao, section 8.2.5, and Sutton & Barto, 2nd ed.,
// sections 9.4 and 11.4.
#pragma once

#include <cstdint>
#include <vector>

#include "gradus/env/finite_mdp.h"
#include "gradus/rl/tabular/table.h"

namespace gradus::rl {

class LinearOracle {
 public:
  //   phi  [n_states, n], see feature_matrix
  //   d    [n_states] not negative; that of the policy is stationary_distribution
  // Throws invalid_argument on a wrong size, and what evaluate_policy throws. Cost: n_states^3 / 3 multiply-adds.
  LinearOracle(const env::FiniteMdp& mdp, const Table& pi, Table phi, std::vector<double> d, double gamma);

  // w with A w = b, A = Phi^T D (I - gamma P) Phi, b = Phi^T D r. Sutton & Barto, eq. (9.12); Zhao, section 8.2.5. This
  // and the three below throw invalid_argument where the answer is not one: features that depend linearly on each
  // other, where d > 0.
  std::vector<double> td_fixed_point() const;
  // The w that make value_error, bellman_error and projected_bellman_error least. The last reaches 0 at the TD fixed
  // point, wherever that exists.
  std::vector<double> least_value_error() const;
  std::vector<double> least_bellman_error() const;
  std::vector<double> least_projected_bellman_error() const;

  // ||v - Phi w||^2. Sutton & Barto, eq. (9.1).
  double value_error(const std::vector<double>& w) const;
  // ||r + gamma P Phi w - Phi w||^2. Sutton & Barto, section 11.4.
  double bellman_error(const std::vector<double>& w) const;
  // ||Pi (r + gamma P Phi w - Phi w)||^2, Pi = Phi (Phi^T D Phi)^-1 Phi^T D: eq. (11.14).
  double projected_bellman_error(const std::vector<double>& w) const;
  // The root of the mean over all states but the terminal ones of (v - Phi w)^2, whatever d.
  double rmse(const std::vector<double>& w) const;

  const std::vector<double>& exact_values() const { return v_; }
  std::vector<double> values(const std::vector<double>& w) const { return times(phi_, w); }

 private:
  static std::vector<double> times(const Table& matrix, const std::vector<double>& w);
  std::vector<double> bellman_residual(const std::vector<double>& w) const;

  Table phi_, residual_;  // [n_states, n]: Phi, and (I - gamma P) Phi
  std::vector<double> d_, r_, v_;
  std::vector<bool> counts_;  // [n_states]: not terminal
};

}  // namespace gradus::rl
