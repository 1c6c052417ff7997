#include "gradus/optim/loss_scaler.h"

#include <algorithm>

namespace gradus::optim {

void LossScaler::step_done() {
  state_.skipped_in_a_row = 0;
  if (!config_.dynamic || ++state_.clean_steps < config_.interval) return;
  state_.scale = std::min(2 * state_.scale, kGreatestScale);
  state_.clean_steps = 0;
}

void LossScaler::step_skipped() {
  ++state_.skipped;
  ++state_.skipped_in_a_row;
  state_.clean_steps = 0;
  if (config_.dynamic) state_.scale = std::max(state_.scale / 2, kLeastScale);
}

}  // namespace gradus::optim
