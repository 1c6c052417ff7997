#include "gradus/rl/deep/policy_jacobian.h"

#include <algorithm>

#include "gradus/core/error.h"

namespace gradus::rl {

PolicyJacobian::PolicyJacobian(Policy& policy, const Tensor& x)
    : policy_(policy), jacobian_(policy.network().mlp(), x) {
  const std::span<const double> out = policy.forward(x);
  out_.assign(out.begin(), out.end());
  log_std_.assign(policy.log_std().begin(), policy.log_std().end());
  Jv_.resize(out_.size());
  MJv_.resize(out_.size());
}

void PolicyJacobian::fisher_times(std::span<const double> v, std::span<double> out) {
  GRADUS_CHECK(std::ssize(v) == n_weights() && v.size() == out.size());
  const auto n_network = static_cast<size_t>(jacobian_.n_weights()),
             n = static_cast<size_t>(policy_.head().n_outputs());
  const std::span<const double> v_log_std = v.subspan(n_network);
  jacobian_.times(v.first(n_network), Jv_);
  for (size_t i = 0; i < out_.size(); i += n) {
    policy_.head().fisher(std::span(out_).subspan(i, n), log_std_, std::span(Jv_).subspan(i, n), v_log_std,
                          std::span(MJv_).subspan(i, n), out.subspan(n_network));
  }
  jacobian_.transposed_times(MJv_, out.first(n_network));
  const auto rows = static_cast<double>(out_.size() / n);
  for (double& u : out.first(n_network)) u /= rows;
}

std::vector<double> PolicyJacobian::gradient(std::span<const double> d_out, std::span<const double> d_log_std) {
  std::vector<double> g(static_cast<size_t>(n_weights()));
  jacobian_.transposed_times(d_out, std::span(g).first(static_cast<size_t>(jacobian_.n_weights())));
  std::ranges::copy(d_log_std, g.end() - std::ssize(d_log_std));
  return g;
}

}  // namespace gradus::rl
