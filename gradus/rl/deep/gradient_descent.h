// How the weights of networks are learned: Adam, with clipped gradients and, in fp16, those of a scaled loss; by one
// rank, or by several together.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "gradus/core/safetensors.h"
#include "gradus/optim/adamw.h"
#include "gradus/optim/loss_scaler.h"
#include "gradus/rl/deep/network_config.h"
#include "gradus/rl/deep/shards.h"
#include "gradus/rl/training_stats.h"
#include "gradus/run/train_step.h"

namespace gradus::rl {

class GradientDescent {
 public:
  //   name   of its metrics, in front: "", "actor_" or "critic_"
  //   ranks  that learn together, or null; they outlive the object
  GradientDescent(std::vector<autograd::Parameter*> parameters, const NetworkConfig& config,
                  const optim::AdamWConfig& adam, const std::string& name = "", run::Ranks* ranks = nullptr);
  GradientDescent(const GradientDescent&) = delete;
  GradientDescent& operator=(const GradientDescent&) = delete;

  // One step on a minibatch of n rows, see run::TrainStep::run: accumulate(rows, backward) is for these of them, those
  // of a shard; all, for one rank without shards. Numbers that it writes of its rows are everybody's afterwards. Throws
  // diverged.
  template <class Accumulate>
  run::TrainStepResult run(int64_t n_rows, double learning_rate, Accumulate&& accumulate,
                           RowNumbers* numbers = nullptr) {
    const auto shards = [&](int64_t shard, const auto& backward) {
      const Rows rows = rows_of_shards(n_rows, train_step_.shards(), shard, shard + 1);
      if (!rows.empty()) accumulate(rows, backward);
    };
    return train_step_.run(optimiser_.steps(), learning_rate, shards, numbers == nullptr ? nullptr : &numbers->all());
  }
  // grad_norm, unless the step was skipped, and the metrics below.
  void add_metrics(const run::TrainStepResult& result, TrainingStats& stats) const;
  // Where losses are scaled: loss_scale, skipped_steps (in all), small_gradients (the share that is zero or subnormal
  // in f16).
  void add_scaling_metrics(const run::TrainStepResult& result, TrainingStats& stats) const;

  // What the gradients of the step under way are multiplied by, for those that do not come from its backward pass.
  double loss_scale() const { return scaler_.scale(); }
  void prepare_gradient(autograd::Parameter& p) {  // before such a one is added to
    if (train_step_.exchange() != nullptr) train_step_.exchange()->prepare(p);
  }
  int64_t steps() const { return optimiser_.steps(); }  // those that were skipped do not count

  // Moments and the scale, by name behind `prefix`; the moments are shared, or, with ZeRO, gathered: both functions are
  // collective.
  void add_state(const std::string& prefix, NamedTensors& state);
  void restore(const std::string& prefix, const NamedTensors& state);  // throws corrupt

 private:
  optim::AdamW optimiser_;
  optim::LossScaler scaler_;
  run::TrainStep train_step_;
  const std::string grad_norm_, loss_scale_, skipped_steps_, small_gradients_;  // names of metrics
};

}  // namespace gradus::rl
