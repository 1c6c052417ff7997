#include "gradus/run/train_step.h"

namespace gradus::run {

void TrainStep::finish(int64_t step, double learning_rate, TrainStepResult& result) {
  if (all_reduce) all_reduce(optimiser_.parameters());
  const double unscale = 1.0 / loss_scale();
  result.grad_norm = optim::global_gradient_norm(optimiser_.parameters()) * unscale;
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
    if (scaler_->active()) result.small_gradients = optim::small_gradient_share(optimiser_.parameters(), DType::f16);
    scaler_->step_done();
  }
  optimiser_.step(learning_rate, unscale * optim::clip_factor(result.grad_norm, config_.clip_norm));
}

}  // namespace gradus::run
