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

void Deviations::assign(std::span<const double> log_std) {
  if (std::ranges::equal(log_, log_std)) return;
  log_.assign(log_std.begin(), log_std.end());
  sigma_.resize(log_.size());
  per_sigma_.resize(log_.size());
  log_volume_ = 0;
  for (size_t i = 0; i < log_.size(); ++i) {
    sigma_[i] = std::exp(log_[i]);
    per_sigma_[i] = std::exp(-log_[i]);
    log_volume_ += log_[i] + kHalfLogTwoPi;
  }
}

PolicyHead::PolicyHead(const env::Space& actions)
    : categorical_(std::holds_alternative<env::Discrete>(actions)),
      n_outputs_(categorical_ ? std::get<env::Discrete>(actions).n : env::size_of(actions)) {}

double PolicyHead::sample(Row out, const Deviations& deviations, Rng& rng, std::span<float> action) const {
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
  for (size_t i = 0; i < out.size(); ++i) action[i] = static_cast<float>(out[i] + deviations.sigma(i) * rng.normal());
  return log_prob(out, deviations, action);
}

void PolicyHead::mode(Row out, std::span<float> action) const {
  if (categorical_) {
    action[0] = static_cast<float>(std::ranges::max_element(out) - out.begin());
    return;
  }
  for (size_t i = 0; i < out.size(); ++i) action[i] = static_cast<float>(out[i]);
}

double PolicyHead::log_prob(Row out, const Deviations& deviations, std::span<const float> action) const {
  if (categorical_) return out[number_of(action)] - log_sum_exp(out);
  double squares = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    const double z = (static_cast<double>(action[i]) - out[i]) * deviations.per_sigma(i);
    squares += z * z;
  }
  return -0.5 * squares - deviations.log_volume();
}

double PolicyHead::entropy(Row out, const Deviations& deviations) const {
  if (!categorical_) return deviations.log_volume() + 0.5 * static_cast<double>(out.size());
  double h = 0;
  const double log_sum = log_sum_exp(out);
  for (const double x : out) h -= std::exp(x - log_sum) * (x - log_sum);
  return h;
}

double PolicyHead::kl(Row old_out, const Deviations& old_deviations, Row out, const Deviations& deviations) const {
  double kl = 0;
  if (categorical_) {
    const double old_sum = log_sum_exp(old_out), sum = log_sum_exp(out);
    for (size_t i = 0; i < out.size(); ++i) {
      const double log_p = old_out[i] - old_sum;
      kl += std::exp(log_p) * (log_p - (out[i] - sum));
    }
  } else {
    for (size_t i = 0; i < out.size(); ++i) {
      const double difference = deviations.log(i) - old_deviations.log(i);
      const double ratio = std::exp(-difference), z = (old_out[i] - out[i]) * deviations.per_sigma(i);
      kl += difference + 0.5 * (ratio * ratio + z * z - 1);
    }
  }
  return kl;
}

void PolicyHead::add_gradient(Row out, const Deviations& deviations, std::span<const float> action, double by_log_prob,
                              double by_entropy, std::span<double> d_out, std::span<double> d_log_std) const {
  if (categorical_) {
    const double log_sum = log_sum_exp(out), h = by_entropy == 0 ? 0 : entropy(out, deviations);
    for (size_t i = 0; i < out.size(); ++i) {
      const double log_p = out[i] - log_sum, p = std::exp(log_p);
      d_out[i] -= by_log_prob * p + by_entropy * p * (log_p + h);  // dH/dx_i = -p_i (log p_i + H)
    }
    d_out[number_of(action)] += by_log_prob;
    return;
  }
  for (size_t i = 0; i < out.size(); ++i) {
    const double per_sigma = deviations.per_sigma(i), z = (static_cast<double>(action[i]) - out[i]) * per_sigma;
    d_out[i] += by_log_prob * z * per_sigma;
    d_log_std[i] += by_log_prob * (z * z - 1) + by_entropy;
  }
}

void PolicyHead::fisher(Row out, const Deviations& deviations, Row v_out, Row v_log_std, std::span<double> u_out,
                        std::span<double> u_log_std) const {
  if (categorical_) {
    const double log_sum = log_sum_exp(out);
    double mean = 0;
    for (size_t i = 0; i < out.size(); ++i) mean += std::exp(out[i] - log_sum) * v_out[i];
    for (size_t i = 0; i < out.size(); ++i) u_out[i] = std::exp(out[i] - log_sum) * (v_out[i] - mean);
    return;
  }
  for (size_t i = 0; i < out.size(); ++i) {
    u_out[i] = v_out[i] * deviations.per_sigma(i) * deviations.per_sigma(i);
    u_log_std[i] = 2 * v_log_std[i];
  }
}

}  // namespace gradus::rl
