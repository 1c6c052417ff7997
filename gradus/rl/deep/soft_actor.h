// A policy that draws its actions from a squashed Gaussian (squashed_gaussian.h), and its descent on values and
// entropy.
#pragma once

#include <vector>

#include "gradus/rl/deep/action_critic.h"

namespace gradus::rl {

class SoftActor {
 public:
  //   ranks  that learn together, or null; they outlive the object
  SoftActor(const NetworkConfig& config, int64_t n_inputs, int64_t action_size, uint64_t seed,
            run::Ranks* ranks = nullptr);

  // a ~ pi(.|s), and log pi(a|s), in some or all of B rows: [rows * action_size] and [rows], valid until the next call
  // of anything. What is random is drawn for all B.
  //   s  [B, n_inputs] f32
  struct Drawn {
    std::span<const double> a, log_prob;
  };
  Drawn draw(const Tensor& s, Rng& rng) { return draw(s, {0, s.dim(0)}, rng); }
  Drawn draw(const Tensor& s, const Rows& rows, Rng& rng) {
    draw_noise(s.dim(0), rng);
    return act(network_.forward(s.rows(rows.begin, rows.end)), rows);
  }
  // tanh of the means: [B * action_size].
  std::span<const double> mean(const Tensor& s);

  // One step of Adam down mean_B alpha log pi(a|s) - min_i q_i(s, a), a ~ pi(.|s) by draws that stay: Haarnoja et al.
  // 2018b, eq. 9. Returns the entropy, -mean_B log pi(a|s). Throws diverged.
  struct Descent {
    double alpha, learning_rate;
  };
  double descend(const Tensor& s, ActionCritics& q, const Descent& c, Rng& rng, TrainingStats& stats);

  Network& network() { return network_; }
  void add_state(NamedTensors& state);
  void restore(const NamedTensors& state);  // throws corrupt

 private:
  void draw_noise(int64_t B, Rng& rng);
  Drawn act(std::span<const double> outputs, const Rows& rows);

  const size_t n_;  // numbers of an action
  Network network_;
  GradientDescent descent_;
  RowNumbers numbers_;     // of the last minibatch
  std::vector<double> e_;  // [B * action_size]
  std::vector<double> a_, log_prob_, d_outputs_;
};

}  // namespace gradus::rl
