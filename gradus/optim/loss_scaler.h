// Loss scaling for f16: gradients are computed of scale * loss, so that small ones do not vanish below f16's least
// number, and divided by the scale in f32 before anything else is done with them. Micikevicius et al. 2018 (arXiv
// 1710.03740), section 3.2; the dynamic rule is that of NVIDIA's "Training with mixed precision", section 4.2.
#pragma once

#include <cstdint>

namespace gradus::optim {

struct LossScalerConfig {
  double scale = 1;      // at the start; the one for ever of a static scaler
  bool dynamic = false;  // halved by an overflow, doubled after `interval` clean steps
  int64_t interval = 2000;

  static LossScalerConfig none() { return {}; }
  static LossScalerConfig fixed(double scale) { return {.scale = scale}; }
  static LossScalerConfig automatic() { return {.scale = 65536, .dynamic = true}; }
};

// All that a checkpoint keeps of it.
struct LossScalerState {
  double scale = 1;
  int64_t clean_steps = 0;  // since the scale last changed
  int64_t skipped = 0;      // steps, in all
  int64_t skipped_in_a_row = 0;
};

class LossScaler {
 public:
  // A dynamic scale falls to this, and not below: what overflows here is not a matter of scale.
  static constexpr double kLeastScale = 1;
  static constexpr double kGreatestScale = 16777216;  // 2^24
  // So many skipped steps in a row say that training has diverged: enough to come down from the greatest scale.
  static constexpr int64_t kMostSkipped = 32;

  explicit LossScaler(const LossScalerConfig& config = {}) : config_(config), state_{.scale = config.scale} {}

  double scale() const { return state_.scale; }
  bool active() const { return config_.dynamic || config_.scale != 1; }
  // False when an overflow can be no accident of f16's range, so that it is an error and not a skipped step.
  bool may_skip() const { return active() && state_.skipped_in_a_row < kMostSkipped; }

  void step_done();     // its gradients were finite
  void step_skipped();  // they were not

  const LossScalerState& state() const { return state_; }
  void restore(const LossScalerState& state) { state_ = state; }

 private:
  LossScalerConfig config_;
  LossScalerState state_;
};

}  // namespace gradus::optim
