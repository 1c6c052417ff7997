#include "gradus/run/train_step.h"

#include <algorithm>

namespace gradus::run {

TrainStep::TrainStep(optim::AdamW& optimiser, const TrainStepConfig& config, optim::LossScaler* scaler, Ranks* ranks)
    : optimiser_(optimiser), config_(config), scaler_(scaler), ranks_(ranks) {
  if (ranks_ != nullptr)
    exchange_.emplace(optimiser, *ranks_, GradientExchangeConfig{.cut_masters = config.cut_masters});
}

void TrainStep::merge_losses(std::vector<double>* numbers) {
  if (numbers == nullptr) return ranks_->merge(losses_);
  const auto n = static_cast<ptrdiff_t>(numbers->size());
  numbers->insert(numbers->end(), losses_.begin(), losses_.end());
  ranks_->merge(*numbers);
  std::copy(numbers->begin() + n, numbers->end(), losses_.begin());
  numbers->resize(static_cast<size_t>(n));
}

void TrainStep::finish(int64_t step, double learning_rate, TrainStepResult& result) {
  for (const double loss : losses_) result.loss += loss;
  const double unscale = 1.0 / loss_scale();
  result.grad_norm = (exchange_ ? exchange_->norm() : optim::global_gradient_norm(optimiser_.parameters())) * unscale;
  if (!std::isfinite(result.loss) || !std::isfinite(result.grad_norm)) {
    if (scaler_ != nullptr && scaler_->may_skip()) {
      scaler_->step_skipped();
      result.skipped = true;
      return;
    }
    fail(ErrorCode::diverged,
         "train: loss {} and gradient norm {} at step {}; lower the learning rate and resume from the last checkpoint",
         result.loss, result.grad_norm, step);
  }
  if (scaler_ != nullptr) {
    if (scaler_->active()) {
      result.small_gradients = exchange_ ? exchange_->small_share(DType::f16)
                                         : optim::small_gradient_share(optimiser_.parameters(), DType::f16);
    }
    scaler_->step_done();
  }
  const double factor = unscale * optim::clip_factor(result.grad_norm, config_.clip_norm);
  exchange_ ? exchange_->update(learning_rate, factor) : optimiser_.step(learning_rate, factor);
}

}  // namespace gradus::run
