// One step of AdamW on one tensor, fused and elementwise: Loshchilov & Hutter 2019, "Decoupled Weight Decay
// Regularization", Algorithm 2. Schedules, clipping and the step count live in gradus/optim.
#pragma once

#include <cstdint>

#include "gradus/core/tensor.h"

namespace gradus::kernels {

struct AdamWStep {
  double learning_rate = 0;  // alpha times the schedule multiplier, eta_t alpha
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;      // lambda
  double bias_correction1 = 1;  // 1 - beta1^t
  double bias_correction2 = 1;  // 1 - beta2^t
  double grad_scale = 1;        // the gradient is multiplied by this first: unscaling and clipping
};

// Which random numbers round a bf16 parameter at a step: the stream (seed, round, index) of Rng gives 16 bits u for
// each of its elements, ascending, and step t takes u + t 40503 modulo 2^16. That is uniform at every step, and over
// the steps it fills the interval evenly (40503 is 2^16 by the golden ratio: Weyl's sequence): what one step leaves
// out, the next ones make up for, and weights walk about less than with a fresh draw at every step.
struct RoundingKey {
  uint64_t seed = 0;
  uint64_t index = 0;  // of the parameter; below 2^48
  uint32_t step = 0;
  int64_t first = 0;  // a multiple of 8: where in the parameter these elements begin, when they are a part of it
};

// In this order, `*+` being one multiply-add of the active instruction set (isa.h):
//   g     = grad * grad_scale
//   m     = beta1 *+ m, onto (1 - beta1) * g                             (line 7)
//   v     = beta2 *+ v, onto ((1 - beta2) * g) * g                       (line 8)
//   r     = m / (sqrt(v * (1 / bias_correction2)) + eps)                 (lines 9, 10, 12)
//   param = -(learning_rate * weight_decay) *+ param, onto param         (line 12)
//   param = -(learning_rate / bias_correction1) *+ r, onto param         (line 12)
// Expressions of the step's fields are computed in double, then rounded to the dtype of param.
//   param, grad, m, v  same shape, f32 | f64, no overlap; param, m, v are updated
// Or bf16 beside moments in f32: param and grad, which may be f32, are widened, and the new parameter is rounded to one
// of its two neighbours, up with the probability of its distance from the lower one (stochastic rounding), so that
// changes too small for bf16 are made on the average. Source: Zamirai et al. 2021, "Revisiting BFloat16 Training"
// (arXiv 2010.06192), section 4. Differs: the decay is learning_rate * weight_decay, as PyTorch has it, not eta_t *
// weight_decay. Throws invalid_argument on a shape or dtype mismatch or a bias correction that is not positive.
void adamw_update(Tensor& param, const Tensor& grad, Tensor& m, Tensor& v, const AdamWStep& step,
                  const RoundingKey& rounding = {});

// The neighbour of x in bf16 that 16 random bits choose; infinities and NaN stay.
BFloat16 round_stochastically(float x, uint32_t random_bits);

}  // namespace gradus::kernels
