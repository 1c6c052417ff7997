// Values as a network, with the two things that make learning them work: a target network and Adam.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "gradus/core/safetensors.h"
#include "gradus/rl/deep/gradient_descent.h"
#include "gradus/rl/deep/network.h"
#include "gradus/rl/deep/network_config.h"
#include "gradus/rl/episode_stats.h"

namespace gradus::rl {

// v(s, w) with one value, or q(s, ., w) with one for each action; w_T are the weights of the target network, some time
// ago's. Zhao, section 8.4; Mnih et al. 2015.
class ValueNetwork {
 public:
  //   n_inputs, n_values  of a state
  //   seed                of the first weights
  // Throws invalid_argument on settings out of range.
  ValueNetwork(int64_t n_inputs, int64_t n_values, const NetworkConfig& config, uint64_t seed);

  // Of w and of w_T: [rows, n_values], row by row, valid until the next call.
  //   x [rows, n_inputs] f32
  std::span<const double> values(const Tensor& x) { return online_.forward(rows_of(x)); }
  std::span<const double> target_values(const Tensor& x) { return target_.forward(rows_of(x)); }

  // w <- w + Adam's step along mean_i delta_i grad v_i, delta_i = targets[i] - v_i, where v_i is value which[i] of row
  // i. This is a semi-gradient: targets depend on weights, too, but are constants here. Adds the errors to stats.
  // Throws diverged, naming the update, when something is no longer finite; w is as it was before.
  void update(const Tensor& x, std::span<const int32_t> which, std::span<const double> targets, double learning_rate,
              EpisodeStats& stats);
  int64_t updates() const { return descent_.steps(); }

  void update_target() { target_.mlp().follow(online_.mlp()); }  // w_T <- w

  // For checkpoints: weights of both and moments, shared with the networks.
  NamedTensors state();
  void restore(const NamedTensors& state);  // throws corrupt

 private:
  // x; or, with the action as an input, (x, a / (n_values - 1)) for each row of x and each of its actions.
  Tensor rows_of(const Tensor& x);
  //   actions  `per_row` for each row of x
  Tensor with_actions(const Tensor& x, std::span<const int32_t> actions, int64_t per_row) const;

  int64_t n_values_;
  bool action_as_input_;
  Network online_, target_;
  GradientDescent descent_;
  std::vector<int32_t> all_actions_;  // 0 .. n_values - 1, as often as there were rows
  std::vector<double> d_values_;
};

}  // namespace gradus::rl
