// The update that supervised fine-tuning and pretraining share: one step down the mean negative log-likelihood of given
// responses, at a rate that a budget of tokens decides.
#pragma once

#include "gradus/posttrain/learner.h"
#include "gradus/posttrain/likelihood.h"
#include "gradus/run/train_step.h"

namespace gradus::posttrain {

// `peak` after a rise over the first `warmup` of the budget, then half a cosine down to a tenth at its end.
struct TokenBudget {
  int64_t tokens = 0;
  double warmup = 0;  // a share
  double peak = 0;

  double learning_rate(int64_t done) const;
};

// One update on all tokens of the responses, each with the same weight. Metrics: loss, grad_norm, learning_rate, and
// under loss scaling those of add_scaling_metrics. Throws diverged; `step` names the moment.
Metrics imitate(run::TrainStep& train_step, PackedLikelihood& likelihood, std::span<const TrainSequence> sequences,
                int64_t step, double learning_rate, const optim::LossScaler* scaler);

}  // namespace gradus::posttrain
