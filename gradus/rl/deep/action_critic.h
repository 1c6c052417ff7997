// Values of actions that are points: networks whose input is state and action together.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "gradus/rl/deep/gradient_descent.h"
#include "gradus/rl/deep/network.h"
#include "gradus/rl/deep/off_policy_agent.h"

namespace gradus::rl {

// q(s, a), a in units.
class ActionCritic {
 public:
  ActionCritic(const NetworkConfig& config, int64_t n_inputs, int64_t action_size, uint64_t seed);

  // Of B rows: [B], valid until the next call of the same function; `record` keeps what the two below need.
  //   s [B, n_inputs] f32, a [B * action_size]
  std::span<const double> forward(const Tensor& s, std::span<const double> a) { return network_.forward(joined(s, a)); }
  std::span<const double> record(const Tensor& s, std::span<const double> a) {
    return network_.record(joined(s, a), true);
  }
  // For descent on the weights: the loss whose dL/dq is d_q [B].
  autograd::Var loss(std::span<const double> d_q) { return network_.loss(d_q); }
  // dL/da [B * action_size] of that loss, which the weights do not notice; valid until the next call.
  //   loss_scale  of the backward pass, which the result is free of; what overflows in it is not finite
  std::span<const double> action_gradient(std::span<const double> d_q, double loss_scale);

  Network& network() { return network_; }

 private:
  const Tensor& joined(const Tensor& s, std::span<const double> a);  // z = [s, a]

  int64_t n_inputs_, action_size_;
  Network network_;
  Tensor z_;
  std::vector<double> d_a_;
};

// One critic or two, their targets, and Adam.
class ActionCritics {
 public:
  //   ranks  that learn together, or null; they outlive the object
  ActionCritics(int64_t n, const NetworkConfig& config, int64_t n_inputs, int64_t action_size, uint64_t seed,
                run::Ranks* ranks = nullptr);

  // min_i q_i(s, a) by the targets, or by the critics themselves: [B], valid until the next call.
  std::span<const double> target(const Tensor& s, std::span<const double> a) { return least(targets_, s, a); }
  std::span<const double> operator()(const Tensor& s, std::span<const double> a) { return least(critics_, s, a); }

  // One step of Adam on sum_i mean_B(w (y - q_i(s, a))^2) / 2. Fills in batch.error, of the first critic.
  // Throws diverged.
  //   y [B], of which this rank's rows are read
  void fit(ReplayBatch& batch, std::span<const double> y, double learning_rate, TrainingStats& stats);

  // dL/da of L = -mean_B q_1(s, a), or of -mean_B min_i q_i(s, a), in some or all of the B rows: [rows * action_size],
  // valid until the next call.
  struct Mean {
    int64_t B;
    double loss_scale = 1;  // as in ActionCritic::action_gradient: that of the descent that it is for
  };
  std::span<const double> d_first(const Tensor& s, std::span<const double> a, const Mean& mean);
  std::span<const double> d_least(const Tensor& s, std::span<const double> a, const Mean& mean);

  void follow(double tau);  // targets move towards the critics

  void add_state(const std::string& prefix, NamedTensors& state);
  void restore(const std::string& prefix, const NamedTensors& state);  // throws corrupt

 private:
  using Critics = std::vector<std::unique_ptr<ActionCritic>>;
  static Critics make(int64_t n, const NetworkConfig& config, int64_t n_inputs, int64_t action_size, uint64_t seed);
  std::span<const double> least(Critics& critics, const Tensor& s, std::span<const double> a);

  Critics critics_, targets_;
  GradientDescent descent_;
  RowNumbers numbers_;  // of the last minibatch
  std::vector<double> least_, d_q_, d_a_;
  std::vector<size_t> whose_;
};

}  // namespace gradus::rl
