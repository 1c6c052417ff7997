#include "gradus/rl/deep/priorities.h"

#include <algorithm>
#include <cmath>

#include "gradus/core/error.h"

namespace gradus::rl {

namespace {

constexpr double kLeast = 1e-6;

}  // namespace

Priorities::Priorities(int64_t capacity, double exponent) : exponent_(exponent), tree_(capacity) {}

void Priorities::set(int64_t i, double delta) {
  const double p = std::pow(std::abs(delta) + kLeast, exponent_);
  greatest_ = std::max(greatest_, p);
  tree_.set(i, p);
}

void Priorities::draw(int64_t n, double beta, Rng& rng, std::span<int64_t> chosen, std::span<double> weights) const {
  const auto B = static_cast<double>(chosen.size());
  double most = 0;
  for (size_t k = 0; k < chosen.size(); ++k) {
    chosen[k] = tree_.find((static_cast<double>(k) + rng.uniform()) / B * tree_.sum());
    weights[k] = std::pow(static_cast<double>(n) * (*this)[chosen[k]], -beta);
    most = std::max(most, weights[k]);
  }
  for (double& w : weights) w /= most;
}

Tensor Priorities::state(int64_t n) const {
  Tensor t = Tensor::empty({n + 1}, DType::f64);
  for (int64_t i = 0; i < n; ++i) t.data<double>()[i] = tree_[i];
  t.data<double>()[n] = greatest_;
  return t;
}

void Priorities::restore(const Tensor& state) {
  const std::span<const double> p = state.span<double>();
  for (const double x : p) {
    if (!(x > 0 && std::isfinite(x))) fail(ErrorCode::corrupt, "a priority is {}, but must be positive", x);
  }
  for (size_t i = 0; i + 1 < p.size(); ++i) tree_.set(static_cast<int64_t>(i), p[i]);
  greatest_ = p.back();
}

}  // namespace gradus::rl
