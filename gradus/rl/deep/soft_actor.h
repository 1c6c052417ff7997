// A policy that draws its actions from a squashed Gaussian (squashed_gaussian.h), and its descent on values and
// entropy.
#pragma once

#include <vector>

#include "gradus/rl/deep/action_critic.h"

namespace gradus::rl {

class SoftActor {
 public:
  SoftActor(const NetworkConfig& config, int64_t n_inputs, int64_t action_size, uint64_t seed);

  // a ~ pi(.|s), and log pi(a|s): [B * action_size] and [B], valid until the next call of anything.
  //   s  [B, n_inputs] f32
  struct Drawn {
    std::span<const double> a, log_prob;
  };
  Drawn draw(const Tensor& s, Rng& rng) { return draw(network_.forward(s), rng); }
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
  Drawn draw(std::span<const double> outputs, Rng& rng);

  const size_t n_;  // numbers of an action
  Network network_;
  GradientDescent descent_;
  std::vector<double> e_, a_, log_prob_, d_outputs_;
};

}  // namespace gradus::rl
