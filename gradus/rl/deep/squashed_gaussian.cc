#include "gradus/rl/deep/squashed_gaussian.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace gradus::rl {

namespace {

constexpr double kLeastLogSigma = -20, kMostLogSigma = 2;

double log_sigma_of(double out) {
  return std::clamp(out, kLeastLogSigma, kMostLogSigma);
}

// log(1 - tanh(u)^2), which would round to log 0 in large u: 2 (log 2 - u - log(1 + e^(-2 u))).
double log_slope(double u) {
  const double x = -2 * u;
  const double softplus = std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
  return 2 * (std::numbers::ln2 - u - softplus);
}

}  // namespace

double squash(std::span<const double> out, std::span<const double> e, std::span<double> a) {
  const double half_log_two_pi = 0.5 * std::log(2 * std::numbers::pi);
  const size_t n = e.size();
  double log_prob = 0;
  for (size_t i = 0; i < n; ++i) {
    const double log_sigma = log_sigma_of(out[n + i]), u = out[i] + std::exp(log_sigma) * e[i];
    a[i] = std::tanh(u);
    log_prob += -0.5 * e[i] * e[i] - log_sigma - half_log_two_pi - log_slope(u);
  }
  return log_prob;
}

void squash_mean(std::span<const double> out, std::span<double> a) {
  for (size_t i = 0; i < a.size(); ++i) a[i] = std::tanh(out[i]);
}

void squash_backward(std::span<const double> out, std::span<const double> e, std::span<const double> a,
                     double by_log_prob, std::span<const double> d_a, std::span<double> d_out) {
  const size_t n = e.size();
  for (size_t i = 0; i < n; ++i) {
    const double log_sigma = log_sigma_of(out[n + i]);
    const double d_u = by_log_prob * 2 * a[i] + d_a[i] * (1 - a[i] * a[i]);  // d log(1 - tanh(u)^2) / du = -2 tanh(u)
    d_out[i] = d_u;
    d_out[n + i] = log_sigma == out[n + i] ? d_u * std::exp(log_sigma) * e[i] - by_log_prob : 0;
  }
}

}  // namespace gradus::rl
