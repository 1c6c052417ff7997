// What the algorithms share that learn values of a finite environment, episode by episode, from replayed experience of
// a policy that is given by its states: the buffer of numbers of states, and the network. The algorithms themselves are
// in files of their own.
#pragma once

#include <memory>
#include <vector>

#include "gradus/rl/agent_state.h"
#include "gradus/rl/deep/deep_config.h"
#include "gradus/rl/deep/network_inputs.h"
#include "gradus/rl/deep/replay_buffer.h"
#include "gradus/rl/deep/value_network.h"
#include "gradus/rl/function_agent.h"
#include "gradus/rl/stepping.h"

namespace gradus::rl {

class ReplayAgent : public FunctionAgent {
 public:
  enum class Values { of_states, of_actions };

  // Throws invalid_argument on settings out of range, and an environment that is not finite.
  ReplayAgent(std::unique_ptr<env::Env> env, const DeepConfig& config, Values values, uint64_t seed);

  NamedTensors state() override;
  void restore(const NamedTensors& state) override;

 protected:
  // One, which is counted for schedules.
  EpisodeStats episode(Rng& rng) final {
    EpisodeStats stats = learn_episode(rng);
    ++episodes_;
    return stats;
  }
  virtual EpisodeStats learn_episode(Rng& rng) = 0;

  // Begins an episode: s is its first state.
  void begin(EpisodeEnv& env);
  // Takes action a in s and stores what came of it; s becomes what follows.
  env::StepResult step(EpisodeEnv& env, int64_t a);

  int64_t greedy_action(env::Observation, Rng& rng) final;

  // Of all states: [n_states, n_values].
  Table values_of_all();

  // The updates that are due after a step.
  template <class Targets>
  void learn(const Targets& targets, Rng& rng, EpisodeStats& stats) {
    const ReplayConfig& c = config_.replay;
    if (buffer_.added() <= c.learning_starts || buffer_.added() % c.train_freq != 0) return;
    for (int64_t k = 0; k < gradient_steps(1); ++k) update(targets, rng, stats);
  }

  int64_t gradient_steps(int64_t own) const {
    return config_.replay.gradient_steps == -1 ? own : config_.replay.gradient_steps;
  }

  // One update of w on a minibatch. `targets(batch, next, y)` says what the values of batch.s should be:
  //   next  [size, n_values]  w_T's values of batch.s2;  y [size]
  // Every target_update_interval updates w_T becomes w.
  template <class Targets>
  void update(const Targets& targets, Rng& rng, EpisodeStats& stats) {
    batch_.draw(buffer_, inputs_, rng);
    targets(batch_, network_.target_values(batch_.s2), std::span(y_));
    network_.update(batch_.s, which_of(batch_), y_, learning_rate(), stats);
    if (network_.updates() % config_.replay.target_update_interval == 0) network_.update_target();
  }

  const DeepConfig config_;
  const env::Discrete actions_;
  ReplayBuffer buffer_;

 private:
  std::span<const int32_t> which_of(const Minibatch& batch) const {
    return values_ == Values::of_actions ? std::span(batch.a) : std::span(zeros_);
  }

  // As the settings let it fall over the episodes.
  double learning_rate() const {
    const double progress = static_cast<double>(episodes_) / static_cast<double>(config_.total_episodes);
    return config_.network.learning_rate * config_.learning_rate_factor(progress);
  }

  const Values values_;
  const NetworkInputs inputs_;
  ValueNetwork network_;
  Minibatch batch_;
  std::vector<double> y_;       // [batch_size]
  std::vector<int32_t> zeros_;  // [batch_size]
  int64_t episodes_ = 0;        // so far
  float s_ = 0;                 // where the episode is
  Tensor row_;                  // [1, inputs]
};

}  // namespace gradus::rl
