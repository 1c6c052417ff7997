// The frame of the algorithms that learn from a buffer of what was done before, whoever did it: acting, the buffer, and
// minibatches of it. What they learn, and how, is in a file for each.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "gradus/rl/deep/action_units.h"
#include "gradus/rl/deep/n_step_returns.h"
#include "gradus/rl/deep/priorities.h"
#include "gradus/rl/deep/replay_buffer.h"
#include "gradus/rl/deep/shards.h"
#include "gradus/rl/deep/vec_agent.h"

namespace gradus::rl {

// Transitions of the buffer as an algorithm learns from them; B of them. Where several ranks learn together each has a
// part of the rows, and the others' hold nothing; `in_buffer`, `weight` and `error` are of all.
struct ReplayBatch {
  ReplayBatch(int64_t B, int64_t n_inputs, int64_t action_size);
  size_t size() const { return r.size(); }
  Tensor own_s2() const { return s2.rows(own.begin, own.end); }

  Rows own;  // this rank's

  Tensor s, s2;                    // [B, n_inputs] f32
  std::vector<double> a;           // [B * action_size], in units (action_units.h)
  std::vector<double> r;           // [B]
  std::vector<double> discount;    // [B] what the value of s2 counts: gamma^n; 0 where the task has ended
  std::vector<double> weight;      // [B] of the errors: 1, unless some are drawn too often
  std::vector<double> error;       // [B] y - q(s, a): the algorithm fills it in, and it becomes the priority
  std::vector<int64_t> in_buffer;  // [B]
};

class OffPolicyAgent : public VecAgent {
 public:
  // Throws invalid_argument on settings out of range, an action without bounds, and more shards than rows of a
  // minibatch.
  OffPolicyAgent(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed);

  // One step in each environment at a time, and what updates are due.
  int64_t train(int64_t done, int64_t until, uint64_t seed, TrainingStats& stats) final;

  std::vector<double> V() override { return {}; }
  Table Q() override { return {}; }

  NamedTensors state() override;
  void restore(const NamedTensors& state) override;

 protected:
  // What to do in each environment, in units.   s [n_envs, n_inputs], actions [n_envs * action_size]
  virtual void explore(const Tensor& s, std::span<float> actions) = 0;
  virtual void episode_ended(int64_t env) { static_cast<void>(env); }
  // One update from a minibatch. `k` numbers those between two steps, for what it draws: rng(Purpose::noise, k).
  virtual void update(ReplayBatch& batch, int64_t k, TrainingStats& stats) = 0;

  const ActionUnits& units() const { return units_; }
  const ReplayConfig& replay() const { return config_.replay; }
  double learning_rate() const { return scheduled_rate(config_.network.learning_rate); }
  double actor_learning_rate() const {
    const NetworkConfig& c = config_.network;
    return scheduled_rate(c.actor_learning_rate > 0 ? c.actor_learning_rate : c.learning_rate);
  }

 private:
  void act(TrainingStats& stats);
  void learn(TrainingStats& stats);
  void draw(int64_t k);
  void choose(Rng& rng);

  ActionUnits units_;
  ReplayBuffer buffer_;
  NStepReturns n_step_;
  Priorities priorities_;  // unless all are drawn alike
  ReplayBatch batch_;
  Tensor s_;                           // [n_envs, n_inputs]
  std::vector<float> unit_, actions_;  // [n_envs * action_size]
};

// The actions' space, as one kind of it. Throws invalid_argument on the other, naming the algorithms that can act in
// it.
const env::Discrete& discrete_actions(std::string_view algorithm, const env::Space& actions);
const env::Box& box_actions(std::string_view algorithm, const env::Space& actions);

}  // namespace gradus::rl
