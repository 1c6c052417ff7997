// What the algorithms share whose policy is a function a = mu(s) to a Box: the policy as a network, its ascent on
// action values, and the noise that it explores with.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "gradus/rl/deep/action_critic.h"
#include "gradus/rl/deep/action_noise.h"
#include "gradus/rl/deep/off_policy_agent.h"

namespace gradus::rl {

// mu(s) = tanh(network(s)), in units, with a target network.
class DeterministicActor {
 public:
  //   ranks  that learn together, or null; they outlive the object
  DeterministicActor(const NetworkConfig& config, int64_t n_inputs, int64_t action_size, uint64_t seed,
                     run::Ranks* ranks = nullptr);

  // mu(s) by the network or its target: [B * action_size], valid until the next call of either.   s [B, n_inputs] f32
  std::span<const double> operator()(const Tensor& s) { return squashed(network_.forward(s)); }
  std::span<const double> target(const Tensor& s) { return squashed(target_.forward(s)); }

  // One step of Adam up mean_B q(s, mu(s)), along  mean_B grad_theta mu(s) grad_a q(s, a) | a = mu(s): the
  // deterministic policy gradient, Silver et al. 2014, eq. 9. Throws diverged.
  void ascend(const Tensor& s, ActionCritics& q, double learning_rate, TrainingStats& stats);

  void follow(double tau) { target_.mlp().follow(network_.mlp(), tau); }

  Network& network() { return network_; }
  void add_state(NamedTensors& state);
  void restore(const NamedTensors& state);  // throws corrupt

 private:
  std::span<const double> squashed(std::span<const double> outputs);

  Network network_, target_;
  GradientDescent descent_;
  std::vector<double> mu_, d_outputs_;
};

class DeterministicAgent : public OffPolicyAgent {
 public:
  // Throws invalid_argument on actions that are no points.
  DeterministicAgent(std::string_view algorithm, const env::EnvFactory& make_env, const DeepConfig& config,
                     int64_t n_critics, uint64_t seed);

  NamedTensors state() override;
  void restore(const NamedTensors& state) override;

 protected:
  DeterministicActor& mu() { return mu_; }
  ActionCritics& q() { return q_; }
  // y = r + gamma q2, for this rank's rows; then q down the mean of (y - q(s, a))^2.   q2 [own rows]
  void fit(ReplayBatch& batch, std::span<const double> q2, TrainingStats& stats);

 private:
  void explore(const Tensor& s, std::span<float> actions) final;  // mu(s) + noise, within the bounds
  void episode_ended(int64_t env) final { noise_.reset(env); }
  void act_greedily(const Tensor& x, std::span<float> action) final;

  DeterministicActor mu_;
  ActionCritics q_;
  ActionNoise noise_;
  std::vector<double> y_;  // [B] what q(s, a) should be, of this rank's rows
};

}  // namespace gradus::rl
