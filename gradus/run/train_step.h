// The one train step that every learner shares: scale, backward, all-reduce hook, unscale, clip, optimiser, diverged
// check.
#pragma once

#include <cmath>
#include <functional>
#include <span>
#include <utility>

#include "gradus/autograd/tape.h"
#include "gradus/core/error.h"
#include "gradus/optim/adamw.h"
#include "gradus/optim/gradients.h"

namespace gradus::run {

struct TrainStepConfig {
  double clip_norm = 1.0;   // global gradient norm; 0 = off
  int64_t shards = 1;       // gradients of S fixed shards are added in a balanced tree
  double loss_scale = 1.0;  // gradients are computed of loss_scale * loss and divided again before clipping
};

struct TrainStepResult {
  double loss = 0;       // sum over shards
  double grad_norm = 0;  // before clipping
};

class TrainStep {
 public:
  TrainStep(optim::AdamW& optimiser, const TrainStepConfig& config)
      : optimiser_(optimiser), config_(config), tree_(optimiser.parameters()) {}

  // Called with the parameters once their gradients are complete on this rank; data-parallel training adds them over
  // ranks.
  std::function<void(std::span<autograd::Parameter* const>)> all_reduce;

  // One update. `accumulate(shard, backward)` computes shard's forward passes and calls `backward(loss)` for each loss
  // to descend on; losses of one shard add up in the order of the calls. Throws diverged, leaving weights and moments
  // as they were, when the loss or the gradient norm is not finite; `step` names the moment in that message.
  template <class Accumulate>
  TrainStepResult run(int64_t step, double learning_rate, Accumulate&& accumulate);

 private:
  void finish(int64_t step, double learning_rate, TrainStepResult& result);

  optim::AdamW& optimiser_;
  TrainStepConfig config_;
  optim::ShardTree tree_;
};

template <class Accumulate>
TrainStepResult TrainStep::run(int64_t step, double learning_rate, Accumulate&& accumulate) {
  TrainStepResult result;
  tree_.reset();
  optim::zero_gradients(optimiser_.parameters());
  for (int64_t shard = 0; shard < config_.shards; ++shard) {
    accumulate(shard, [&](autograd::Var loss) {
      const Tensor& value = loss.value();
      result.loss +=
          value.dtype() == DType::f64 ? value.data<double>()[0] : static_cast<double>(value.data<float>()[0]);
      loss.tape->backward(loss, config_.loss_scale);
    });
    tree_.add(shard + 1 == config_.shards);
  }
  tree_.finish();
  finish(step, learning_rate, result);
  return result;
}

}  // namespace gradus::run
