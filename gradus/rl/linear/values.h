// Weights of linear value functions and how they move: V(s) = w . phi(s), Q(s, a) = w_a . phi(s). The update rules are
// those of the algorithms; here is only what they share, and the watch over divergence.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "gradus/core/error.h"
#include "gradus/rl/check_setting.h"
#include "gradus/rl/linear/features.h"
#include "gradus/rl/tabular/table.h"

namespace gradus::rl {

// Past this a weight counts as diverged.
inline constexpr double kLargestWeight = 1e12;

namespace detail {
// A weight after its update. Throws diverged, and the old weight stays, when it is not finite or too large.
inline double moved(double w, double change, int64_t step) {
  const double moved = w + change;
  if (!(std::abs(moved) <= kLargestWeight)) [[unlikely]] {
    fail(ErrorCode::diverged, "linear values: a weight becomes {} at step {}, past {}; use a smaller alpha", moved,
         step, kLargestWeight);
  }
  return moved;
}
}  // namespace detail

// V(s) = w . phi(s). Sutton & Barto, 2nd ed., eq. (9.8); Zhao, section 8.2.
class LinearValues {
 public:
  explicit LinearValues(std::vector<double> w) : w_(std::move(w)) {}

  double operator()(Phi phi) const {
    double v = 0;
    for (const Entry& e : phi) v += w_[static_cast<size_t>(e.index)] * e.value;
    return v;
  }
  // w += step * phi. Throws diverged, naming how many times w moved; every weight is finite even then.
  void move(Phi phi, double step) {
    ++n_moves_;
    for (const Entry& e : phi) {
      double& w = w_[static_cast<size_t>(e.index)];
      w = detail::moved(w, step * e.value, n_moves_);
    }
  }
  std::span<double> weights() { return w_; }
  std::span<const double> weights() const { return w_; }

 private:
  std::vector<double> w_;
  int64_t n_moves_ = 0;
};

// Q(s, a) = w_a . phi(s): the features of (s, a) are those of s, once for each action. Sutton & Barto, 2nd ed., section
// 10.1; Zhao, section 8.3.
class LinearActionValues {
 public:
  LinearActionValues(int64_t n_features, int64_t n_actions)
      : w_(n_features, n_actions), q_(static_cast<size_t>(n_actions)) {}

  double operator()(Phi phi, int64_t a) const {
    double q = 0;
    for (const Entry& e : phi) q += w_(e.index, a) * e.value;
    return q;
  }
  // Q(s, .), valid until the next call.
  std::span<const double> all(Phi phi) {
    std::ranges::fill(q_, 0.0);
    for (const Entry& e : phi) {
      const std::span<const double> w = std::as_const(w_)[e.index];
      for (size_t a = 0; a < q_.size(); ++a) q_[a] += w[a] * e.value;
    }
    return q_;
  }
  // w_a += step * phi. Fails as LinearValues::move does.
  void move(Phi phi, int64_t a, double step) {
    ++n_moves_;
    for (const Entry& e : phi) w_(e.index, a) = detail::moved(w_(e.index, a), step * e.value, n_moves_);
  }
  Table& weights() { return w_; }  // [n_features, n_actions]
  const Table& weights() const { return w_; }

 private:
  Table w_;
  std::vector<double> q_;
  int64_t n_moves_ = 0;
};

}  // namespace gradus::rl
