#include "gradus/rl/linear/lstd.h"

#include <algorithm>
#include <cmath>

#include "gradus/core/error.h"

namespace gradus::rl {

LeastSquaresSystem::LeastSquaresSystem(int64_t n, const LstdConfig& c)
    : gamma_(c.gamma),
      largest_(kLargestWeight / c.epsilon),
      inverse_(n, n),
      b_(n, 1),
      inverse_x_(static_cast<size_t>(n)),
      d_inverse_(inverse_x_) {
  require(c.epsilon > 0 && std::isfinite(c.epsilon), "lstd: epsilon is {}, but must be positive", c.epsilon);
  check_share("gamma", c.gamma);
  for (int64_t i = 0; i < n; ++i) inverse_(i, i) = 1 / c.epsilon;
}

void LeastSquaresSystem::add(Phi x, double r, Phi x2) {
  ++n_steps_;
  // 1. A^-1 x, and d^T A^-1 with d = x - gamma x2.
  std::ranges::fill(d_inverse_, 0.0);
  const auto add_row = [&](const Entry& e, double factor) {
    const auto row = inverse_[e.index];
    for (size_t j = 0; j < row.size(); ++j) d_inverse_[j] += factor * row[j];
  };
  for (const Entry& e : x) add_row(e, e.value);
  for (const Entry& e : x2) add_row(e, -gamma_ * e.value);
  for (size_t i = 0; i < inverse_x_.size(); ++i) {
    double sum = 0;
    for (const Entry& e : x) sum += inverse_(static_cast<int64_t>(i), e.index) * e.value;
    inverse_x_[i] = sum;
  }
  // 2. A^-1 -= A^-1 x d^T A^-1 / (1 + d^T A^-1 x): (9.22).
  double denominator = 1;
  for (const Entry& e : x) denominator += d_inverse_[static_cast<size_t>(e.index)] * e.value;
  const auto norm = [](const std::vector<double>& y) {
    double largest = 0;
    for (const double value : y) largest = std::isnan(value) ? value : std::max(largest, std::abs(value));
    return largest;
  };
  const double change = norm(inverse_x_) * norm(d_inverse_) / std::abs(denominator);
  if (!(change <= largest_) || !std::isfinite(r)) {
    fail(ErrorCode::diverged,
         "lstd: at step {} the matrix becomes singular, or the reward {} is not finite; use a larger epsilon", n_steps_,
         r);
  }
  for (size_t i = 0; i < inverse_x_.size(); ++i) {
    const double factor = inverse_x_[i] / denominator;
    const auto row = inverse_[static_cast<int64_t>(i)];
    for (size_t j = 0; j < row.size() && factor != 0; ++j) row[j] -= factor * d_inverse_[j];
  }
  for (const Entry& e : x) b_(e.index, 0) += r * e.value;
}

std::vector<double> LeastSquaresSystem::weights() const {
  std::vector<double> w(inverse_x_.size(), 0.0);
  for (size_t i = 0; i < w.size(); ++i) {
    const auto row = inverse_[static_cast<int64_t>(i)];
    for (size_t j = 0; j < row.size(); ++j) w[i] += row[j] * b_(static_cast<int64_t>(j), 0);
    if (!(std::abs(w[i]) <= kLargestWeight)) {
      fail(ErrorCode::diverged, "lstd: weight {} is {} after step {}; use a larger epsilon", i, w[i], n_steps_);
    }
  }
  return w;
}

}  // namespace gradus::rl
