// The one train step that every learner shares: scale, backward, sum over ranks, unscale, clip, optimiser, diverged
// check.
#pragma once

#include <cmath>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "gradus/autograd/tape.h"
#include "gradus/core/error.h"
#include "gradus/optim/adamw.h"
#include "gradus/optim/gradients.h"
#include "gradus/optim/loss_scaler.h"
#include "gradus/run/gradient_exchange.h"
#include "gradus/run/ranks.h"

namespace gradus::run {

struct TrainStepConfig {
  double clip_norm = 1.0;    // global gradient norm; 0 = off
  bool cut_masters = false;  // GradientExchangeConfig
};

struct TrainStepResult {
  double loss = 0;             // sum over all shards
  double grad_norm = 0;        // before clipping
  bool skipped = false;        // an overflow under loss scaling: weights and moments are as they were
  double small_gradients = 0;  // under loss scaling: the share of elements that are zero or subnormal in f16
};

class TrainStep {
 public:
  // `scaler` and `ranks`, if given, outlive the object; without the one losses are not scaled, without the other this
  // is the only rank, and a batch is one shard.
  TrainStep(optim::AdamW& optimiser, const TrainStepConfig& config, optim::LossScaler* scaler = nullptr,
            Ranks* ranks = nullptr);

  // Parts of a batch over all ranks; those of this one are [first_shard(), end_shard()).
  int64_t shards() const { return ranks_ != nullptr ? ranks_->shards() : 1; }
  int64_t first_shard() const { return ranks_ != nullptr ? ranks_->first_shard() : 0; }
  int64_t end_shard() const { return first_shard() + (ranks_ != nullptr ? shards() / ranks_->size() : 1); }

  // One update, on all ranks at once. `accumulate(shard, backward)` computes the forward passes of a shard of this rank
  // and calls `backward(loss)` for each loss to descend on; losses of one shard add up in the order of the calls.
  // `backward(loss, true)` says that it is the shard's last, so that its gradients can leave while they are computed.
  // Gradients are those of the scaled loss, summed over shards in a balanced tree, and unscaled before they are
  // clipped. When the loss or the gradient norm is not finite, weights and moments stay as they were: under loss
  // scaling the step is skipped; else, or after too many of those in a row, it throws diverged, where `step` names the
  // moment.
  //   numbers  if given, each written by one rank while it accumulates and 0 on the others, are everybody's afterwards:
  //            they travel with the losses
  template <class Accumulate>
  TrainStepResult run(int64_t step, double learning_rate, Accumulate&& accumulate,
                      std::vector<double>* numbers = nullptr);

  GradientExchange* exchange() { return exchange_ ? &*exchange_ : nullptr; }  // null for the only rank

 private:
  double loss_scale() const { return scaler_ != nullptr ? scaler_->scale() : 1.0; }
  void merge_losses(std::vector<double>* numbers);
  void finish(int64_t step, double learning_rate, TrainStepResult& result);

  optim::AdamW& optimiser_;
  TrainStepConfig config_;
  optim::LossScaler* scaler_;
  Ranks* ranks_;
  std::optional<GradientExchange> exchange_;
  std::vector<double> losses_;  // of each shard
};

template <class Accumulate>
TrainStepResult TrainStep::run(int64_t step, double learning_rate, Accumulate&& accumulate,
                               std::vector<double>* numbers) {
  TrainStepResult result;
  losses_.assign(static_cast<size_t>(shards()), 0.0);
  exchange_ ? exchange_->begin() : optim::zero_gradients(optimiser_.parameters());
  static const autograd::GradientHooks kNone;
  for (int64_t shard = first_shard(); shard < end_shard(); ++shard) {
    const bool last_shard = shard + 1 == end_shard();
    const auto descend = [&](autograd::Var loss, bool last) {
      const Tensor& value = loss.value();
      losses_[static_cast<size_t>(shard)] +=
          value.dtype() == DType::f64 ? value.data<double>()[0] : static_cast<double>(value.data<float>()[0]);
      loss.tape->backward(loss, loss_scale(), exchange_ ? exchange_->hooks(last_shard && last) : kNone);
    };
    // Captures so little that a std::function of it allocates nothing.
    accumulate(shard, [&descend](autograd::Var loss, bool last = false) { descend(loss, last); });
    if (exchange_ && !last_shard) exchange_->add_shard();
  }
  if (exchange_) {
    exchange_->finish();
    merge_losses(numbers);
  }
  finish(step, learning_rate, result);
  return result;
}

}  // namespace gradus::run
