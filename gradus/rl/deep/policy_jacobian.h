// Second-order information about a policy at what it has seen: its Fisher matrix by products alone, and gradients, in
// one flat vector of weights (Policy::weights).
#pragma once

#include <span>
#include <vector>

#include "gradus/nn/mlp_jacobian.h"
#include "gradus/rl/deep/policy.h"

namespace gradus::rl {

class PolicyJacobian {
 public:
  // The policy outlives this.
  explicit PolicyJacobian(Policy& policy) : policy_(policy), jacobian_(policy.network().mlp()) {}

  // Goes to these inputs and the policy as it is now. Comes before all below.
  //   x  [rows, inputs] f32
  void at(const Tensor& x);

  int64_t n_weights() const { return jacobian_.n_weights() + policy_.head().n_log_std(); }

  // out = F v, F = mean over rows of J^T M J: the Fisher matrix, and the Hessian of the mean KL divergence from the
  // policy as it is. Schulman et al. 2015, appendix C.1.   v, out [n_weights]
  void fisher_times(std::span<const double> v, std::span<double> out);

  // The gradient in the weights from that in the outputs, d_out [rows * n_outputs], and in the deviations, [n_log_std].
  //   g  [n_weights]
  void gradient(std::span<const double> d_out, std::span<const double> d_log_std, std::span<double> g);

 private:
  Policy& policy_;
  nn::MlpJacobian jacobian_;
  std::vector<double> out_;  // of the policy at x
  Deviations deviations_;
  std::vector<double> Jv_, MJv_;  // [rows * n_outputs]
};

}  // namespace gradus::rl
