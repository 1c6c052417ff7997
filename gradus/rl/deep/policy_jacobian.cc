#include "gradus/rl/deep/policy_jacobian.h"

#include <algorithm>

#include "gradus/core/error.h"

namespace gradus::rl {

void PolicyJacobian::at(const Tensor& x) {
  jacobian_.at(x);
  const std::span<const double> out = policy_.forward(x);
  out_.assign(out.begin(), out.end());
  deviations_ = policy_.deviations();
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
    policy_.head().fisher(std::span(out_).subspan(i, n), deviations_, std::span(Jv_).subspan(i, n), v_log_std,
                          std::span(MJv_).subspan(i, n), out.subspan(n_network));
  }
  jacobian_.transposed_times(MJv_, out.first(n_network));
  const auto rows = static_cast<double>(out_.size() / n);
  for (double& u : out.first(n_network)) u /= rows;
}

void PolicyJacobian::gradient(std::span<const double> d_out, std::span<const double> d_log_std, std::span<double> g) {
  GRADUS_CHECK(std::ssize(g) == n_weights());
  const auto n_network = static_cast<size_t>(jacobian_.n_weights());
  jacobian_.transposed_times(d_out, g.first(n_network));
  std::ranges::copy(d_log_std, g.subspan(n_network).begin());
}

}  // namespace gradus::rl
