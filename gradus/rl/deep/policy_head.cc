#include "gradus/rl/deep/policy_head.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace gradus::rl {

namespace {

using Row = std::span<const double>;

// log(2 pi) / 2
const double kHalfLogTwoPi = 0.5 * std::log(2 * std::numbers::pi);

// log sum_i exp(x_i).
double log_sum_exp(Row x) {
  const double most = std::ranges::max(x);
  double sum = 0;
  for (const double v : x) sum += std::exp(v - most);
  return most + std::log(sum);
}

size_t number_of(std::span<const float> action) {
  return static_cast<size_t>(action[0]);
}

}  // namespace

PolicyHead::PolicyHead(const env::Space& actions)
    : categorical_(std::holds_alternative<env::Discrete>(actions)),
      n_outputs_(categorical_ ? std::get<env::Discrete>(actions).n : env::size_of(actions)) {}

double PolicyHead::sample(Row out, Row log_std, Rng& rng, std::span<float> action) const {
  if (categorical_) {
    const double log_sum = log_sum_exp(out);
    double u = rng.uniform();
    size_t a = 0;
    for (; a + 1 < out.size(); ++a) {
      u -= std::exp(out[a] - log_sum);
      if (u < 0) break;
    }
    action[0] = static_cast<float>(a);
    return out[a] - log_sum;
  }
  for (size_t i = 0; i < out.size(); ++i) action[i] = static_cast<float>(out[i] + std::exp(log_std[i]) * rng.normal());
  return log_prob(out, log_std, action);
}

void PolicyHead::mode(Row out, std::span<float> action) const {
  if (categorical_) {
    action[0] = static_cast<float>(std::ranges::max_element(out) - out.begin());
    return;
  }
  for (size_t i = 0; i < out.size(); ++i) action[i] = static_cast<float>(out[i]);
}

double PolicyHead::log_prob(Row out, Row log_std, std::span<const float> action) const {
  if (categorical_) return out[number_of(action)] - log_sum_exp(out);
  double sum = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    const double z = (static_cast<double>(action[i]) - out[i]) * std::exp(-log_std[i]);
    sum -= 0.5 * z * z + log_std[i] + kHalfLogTwoPi;
  }
  return sum;
}

double PolicyHead::entropy(Row out, Row log_std) const {
  double h = 0;
  if (categorical_) {
    const double log_sum = log_sum_exp(out);
    for (const double x : out) h -= std::exp(x - log_sum) * (x - log_sum);
  } else {
    for (const double s : log_std) h += s + kHalfLogTwoPi + 0.5;
  }
  return h;
}

double PolicyHead::kl(Row old_out, Row old_log_std, Row out, Row log_std) const {
  double kl = 0;
  if (categorical_) {
    const double old_sum = log_sum_exp(old_out), sum = log_sum_exp(out);
    for (size_t i = 0; i < out.size(); ++i) {
      const double log_p = old_out[i] - old_sum;
      kl += std::exp(log_p) * (log_p - (out[i] - sum));
    }
  } else {
    for (size_t i = 0; i < out.size(); ++i) {
      const double ratio = std::exp(old_log_std[i] - log_std[i]), z = (old_out[i] - out[i]) * std::exp(-log_std[i]);
      kl += log_std[i] - old_log_std[i] + 0.5 * (ratio * ratio + z * z - 1);
    }
  }
  return kl;
}

void PolicyHead::add_gradient(Row out, Row log_std, std::span<const float> action, double by_log_prob,
                              double by_entropy, std::span<double> d_out, std::span<double> d_log_std) const {
  if (categorical_) {
    const double log_sum = log_sum_exp(out), h = by_entropy == 0 ? 0 : entropy(out, log_std);
    for (size_t i = 0; i < out.size(); ++i) {
      const double log_p = out[i] - log_sum, p = std::exp(log_p);
      d_out[i] -= by_log_prob * p + by_entropy * p * (log_p + h);  // dH/dx_i = -p_i (log p_i + H)
    }
    d_out[number_of(action)] += by_log_prob;
    return;
  }
  for (size_t i = 0; i < out.size(); ++i) {
    const double per_sigma = std::exp(-log_std[i]), z = (static_cast<double>(action[i]) - out[i]) * per_sigma;
    d_out[i] += by_log_prob * z * per_sigma;
    d_log_std[i] += by_log_prob * (z * z - 1) + by_entropy;
  }
}

void PolicyHead::fisher(Row out, Row log_std, Row v_out, Row v_log_std, std::span<double> u_out,
                        std::span<double> u_log_std) const {
  if (categorical_) {
    const double log_sum = log_sum_exp(out);
    double mean = 0;
    for (size_t i = 0; i < out.size(); ++i) mean += std::exp(out[i] - log_sum) * v_out[i];
    for (size_t i = 0; i < out.size(); ++i) u_out[i] = std::exp(out[i] - log_sum) * (v_out[i] - mean);
    return;
  }
  for (size_t i = 0; i < out.size(); ++i) {
    u_out[i] = v_out[i] * std::exp(-2 * log_std[i]);
    u_log_std[i] = 2 * v_log_std[i];
  }
}

}  // namespace gradus::rl
