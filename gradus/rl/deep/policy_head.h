// What the outputs of a policy network mean: the logits of a categorical distribution over Discrete actions, or the
// means of a Gaussian over a Box, whose standard deviations are parameters of their own, the same in every state.
// All functions are of one row, in double:
//   out         [n_outputs]    logits, or means
//   deviations  [n_outputs]    of a Gaussian; none for a categorical distribution
//   action      [action_size]  its number counted from 0; or a point, also one outside of the Box
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "gradus/core/rng.h"
#include "gradus/env/space.h"

namespace gradus::rl {

// The standard deviations of a Gaussian, and what its densities need of them: to take exp for each row would cost more
// than all the rest of the row. The density at the means is exp(-log_volume).
class Deviations {
 public:
  Deviations() = default;
  Deviations(const std::vector<double>& log_std) { assign(log_std); }  // NOLINT(google-explicit-constructor)
  void assign(std::span<const double> log_std);

  size_t size() const { return log_.size(); }
  double log(size_t i) const { return log_[i]; }
  double sigma(size_t i) const { return sigma_[i]; }
  double per_sigma(size_t i) const { return per_sigma_[i]; }  // 1 / sigma
  double log_volume() const { return log_volume_; }           // sum_i log(sigma_i sqrt(2 pi))

 private:
  std::vector<double> log_, sigma_, per_sigma_;
  double log_volume_ = 0;
};

class PolicyHead {
 public:
  explicit PolicyHead(const env::Space& actions);

  bool categorical() const { return categorical_; }
  int64_t n_outputs() const { return n_outputs_; }
  int64_t action_size() const { return categorical_ ? 1 : n_outputs_; }
  int64_t n_log_std() const { return categorical_ ? 0 : n_outputs_; }

  // Draws an action; returns log pi(action).
  double sample(std::span<const double> out, const Deviations& deviations, Rng& rng, std::span<float> action) const;
  // The likeliest action, the first of equals.
  void mode(std::span<const double> out, std::span<float> action) const;

  double log_prob(std::span<const double> out, const Deviations& deviations, std::span<const float> action) const;
  double entropy(std::span<const double> out, const Deviations& deviations) const;
  // KL(old || now).
  double kl(std::span<const double> old_out, const Deviations& old_deviations, std::span<const double> out,
            const Deviations& deviations) const;

  // d_out += by_log_prob * d log pi(action) / d out + by_entropy * d entropy / d out; d_log_std alike.
  void add_gradient(std::span<const double> out, const Deviations& deviations, std::span<const float> action,
                    double by_log_prob, double by_entropy, std::span<double> d_out, std::span<double> d_log_std) const;

  // u = M v, where M is the Fisher information of the distribution in (out, log_std): diag(p) - p p^T of the logits;
  // 1 / sigma^2 of the means and 2 of the log standard deviations. It is the Hessian of kl(old, now) at now = old.
  void fisher(std::span<const double> out, const Deviations& deviations, std::span<const double> v_out,
              std::span<const double> v_log_std, std::span<double> u_out, std::span<double> u_log_std) const;

 private:
  bool categorical_;
  int64_t n_outputs_;
};

}  // namespace gradus::rl
