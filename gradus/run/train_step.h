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
#include "gradus/optim/loss_scaler.h"

namespace gradus::run {

struct TrainStepConfig {
  double clip_norm = 1.0;  // global gradient norm; 0 = off
  int64_t shards = 1;      // gradients of S fixed shards are added in a balanced tree
};

struct TrainStepResult {
  double loss = 0;             // sum over shards
  double grad_norm = 0;        // before clipping
  bool skipped = false;        // an overflow under loss scaling: weights and moments are as they were
  double small_gradients = 0;  // under loss scaling: the share of elements that are zero or subnormal in f16
};

class TrainStep {
 public:
  // `scaler`, if there is one, outlives the object; without one losses are not scaled.
  TrainStep(optim::AdamW& optimiser, const TrainStepConfig& config, optim::LossScaler* scaler = nullptr)
      : optimiser_(optimiser), config_(config), scaler_(scaler), tree_(optimiser.parameters()) {}

  // Called with the parameters once their gradients are complete on this rank; data-parallel training adds them over
  // ranks.
  std::function<void(std::span<autograd::Parameter* const>)> all_reduce;

  // One update. `accumulate(shard, backward)` computes shard's forward passes and calls `backward(loss)` for each loss
  // to descend on; losses of one shard add up in the order of the calls. Gradients are those of the scaled loss, and
  // unscaled before they are clipped. When the loss or the gradient norm is not finite, weights and moments stay as
  // they were: under loss scaling the step is skipped; else, or after too many of those in a row, it throws diverged,
  // where `step` names the moment.
  template <class Accumulate>
  TrainStepResult run(int64_t step, double learning_rate, Accumulate&& accumulate);

 private:
  double loss_scale() const { return scaler_ != nullptr ? scaler_->scale() : 1.0; }
  void finish(int64_t step, double learning_rate, TrainStepResult& result);

  optim::AdamW& optimiser_;
  TrainStepConfig config_;
  optim::LossScaler* scaler_;
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
      loss.tape->backward(loss, loss_scale());
    });
    tree_.add(shard + 1 == config_.shards);
  }
  tree_.finish();
  finish(step, learning_rate, result);
  return result;
}

}  // namespace gradus::run
