// Settings of deep reinforcement learning: networks, and what is learned from again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gradus/nn/mlp.h"

namespace gradus::rl {

struct NetworkConfig {
  std::vector<int64_t> hidden = {64, 64};
  std::string activation = "relu";
  bool action_as_input = false;
  bool one_hot = false;
  double learning_rate = 1e-3;
  double actor_learning_rate = 0;
  double clip_norm = 10;
  bool linear_decay = false;
  std::string precision = "fp32";

  template <class F>
  void fields(F& f) {
    f("hidden", hidden, "widths of the hidden layers");
    f("activation", activation, "relu or tanh");
    f("action_as_input", action_as_input,
      "off-policy-dqn: the action is an input and its value the only output; else each action has an output");
    f("one_hot", one_hot,
      "states of a finite environment are one 1 among 0s, even where they lie on a plane; without hidden layers a "
      "table");
    f("learning_rate", learning_rate, "of Adam");
    f("actor_learning_rate", actor_learning_rate, "dpg, ddpg, td3, sac: the policy's; 0 = learning_rate");
    f("clip_norm", clip_norm, "gradients are scaled down to this norm; 0 = off");
    f("linear_decay", linear_decay, "learning rates fall to 0 over the whole training; [schedule] has more");
    f("precision", precision, "fp64, fp32, bf16, fp16 or bf16-pure: what networks compute in (docs/numerics.md)");
  }

  // Throws invalid_argument on what is out of range, naming key and value.
  void check() const;
};
// Of a checked configuration.
nn::Precision precision_of(const NetworkConfig& config);
nn::MlpConfig mlp_of(const NetworkConfig& config, int64_t inputs, int64_t outputs);

struct ReplayConfig {
  int64_t buffer_size = 10000;
  std::string directory = {};
  int64_t batch_size = 64;
  int64_t learning_starts = 100;
  int64_t train_freq = 1;
  int64_t gradient_steps = -1;
  int64_t target_update_interval = 100;
  double tau = 0.005;
  int64_t n_step = 1;
  bool prioritised = false;
  double priority_exponent = 0.6;
  double importance_exponent = 0.4;

  template <class F>
  void fields(F& f) {
    f("buffer_size", buffer_size, "the last so many transitions are kept");
    f("directory", directory,
      "where they go into a file, which is gone with the process, if memory does not hold them; empty = in memory");
    f("batch_size", batch_size, "transitions of an update, drawn from them at random");
    f("learning_starts", learning_starts, "steps before the first update; actions are random until then");
    f("train_freq", train_freq, "steps of each environment between updates");
    f("gradient_steps", gradient_steps,
      "updates at a time; -1 = the algorithm's own: as many as there were steps; td-network 1, and off-policy-dqn, "
      "whose episodes are nothing else, 100");
    f("target_update_interval", target_update_interval,
      "td-network, dqn, off-policy-dqn: updates from one copy to the target network to the next");
    f("tau", tau, "ddpg, td3, sac: how far target networks move towards the others in an update");
    f("n_step", n_step, "dqn, dpg, ddpg, td3, sac: steps whose rewards count before the estimate of what follows");
    f("prioritised", prioritised, "the same: transitions with large errors are drawn more often");
    f("priority_exponent", priority_exponent, "by this power of the error; 0 = all alike");
    f("importance_exponent", importance_exponent,
      "and count by this power of how much too often they are, which grows to 1 over the training");
  }

  // Throws invalid_argument on what is out of range, naming key and value.
  void check() const;
};

}  // namespace gradus::rl
