// What the agents share that act in several environments at once: the environments, how networks see them, and the
// normalisation of what is observed and earned. Where several ranks train one agent, each steps its share of the
// environments and all act on all of them: state() and restore(), and training, are collective.
#pragma once

#include <memory>
#include <vector>

#include "gradus/env/vec_env.h"
#include "gradus/rl/agent.h"
#include "gradus/rl/deep/deep_config.h"
#include "gradus/rl/deep/network_inputs.h"
#include "gradus/rl/deep/running_moments.h"

namespace gradus::rl {

class VecAgent : public Agent {
 public:
  VecAgent(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed);

  Unit unit() const final { return Unit::steps; }
  bool has_policy() const final { return true; }
  std::vector<PlayedStep> play(Rng& rng, int64_t most_steps, const Watch& watch) final;

  NamedTensors state() override;
  void restore(const NamedTensors& state) override;

 protected:
  // The likeliest, or best, action for one row of inputs.
  virtual void act_greedily(const Tensor& x, std::span<float> action) = 0;

  int64_t n_envs() const { return config_.n_envs; }
  int64_t n_inputs() const { return inputs_.n(); }
  const env::Space& actions() const { return vec_env_->spec().action_space; }
  int64_t action_size() const { return vec_env_->action_size(); }
  // Null unless the environment is finite; and all its states as networks see them, [n_states, n_inputs].
  const env::FiniteMdp* mdp() const { return mdp_.get(); }
  Tensor all_states() const;

  // What networks see of observations [rows, observation size]: x [rows, n_inputs], normalised.
  void see(std::span<const float> observations, std::span<float> x) const;
  std::span<const float> observations() const { return observations_; }  // S_t, [n_envs, observation size]

  // Takes the actions [n_envs, action size], of a Box what lies beyond its bounds as the bounds. Counts what ended, and
  // moves the normalisers. Valid until the next step.
  const env::VecStep& step(std::span<const float> actions, TrainingStats& stats);
  std::span<const double> rewards() const { return rewards_; }  // [n_envs] R_{t+1}, normalised
  double normalized(double reward) const;                       // as they would be now

  int64_t steps() const { return vec_steps_ * n_envs(); }  // of all environments together, so far
  // The stream of what is drawn for an environment, or for a pass over data, between two steps.
  Rng rng(Purpose purpose, int64_t which = 0) const {
    return Rng(seed_, purpose, static_cast<uint64_t>(vec_steps_), static_cast<uint32_t>(which));
  }
  // The share of the training that is done, for schedules.
  double progress() const { return static_cast<double>(steps()) / static_cast<double>(config_.total_steps); }
  // What a setting is now that falls to `share` of itself, and a learning rate.
  double scheduled(double value, double share) const { return value * config_.schedule.factor(share, progress()); }
  double scheduled_rate(double rate) const { return rate * config_.learning_rate_factor(progress()); }

  const DeepConfig config_;

 private:
  // The same before it is normalised.
  void fill(std::span<const float> observations, std::span<float> x) const;
  void normalize_rewards();
  void bound(std::span<const float> actions);

  const uint64_t seed_;
  const env::EnvFactory make_env_;
  std::unique_ptr<env::VecEnv> vec_env_;
  std::shared_ptr<const env::FiniteMdp> mdp_;
  NetworkInputs inputs_;
  RunningMoments observation_moments_, return_moments_;
  std::vector<double> discounted_returns_;  // [n_envs], for the scale of rewards
  std::vector<double> rewards_;
  std::vector<float> observations_, bounded_;
  std::vector<float> x_;           // [n_envs, n_inputs], not normalised
  std::vector<double> moment_of_;  // the same, for the moments
  env::VecStep last_;
  int64_t vec_steps_ = 0;
};

}  // namespace gradus::rl
