#include "gradus/kernels/adamw.h"

#include <algorithm>
#include <bit>

#include "gradus/core/rng.h"
#include "gradus/kernels/as_floats.h"
#include "gradus/kernels/cpu/adamw.h"

namespace gradus::kernels {

namespace {

template <class T>
ref::AdamW<T> constants(const AdamWStep& step) {
  return {.grad_scale = static_cast<T>(step.grad_scale),
          .beta1 = static_cast<T>(step.beta1),
          .one_minus_beta1 = static_cast<T>(1 - step.beta1),
          .beta2 = static_cast<T>(step.beta2),
          .one_minus_beta2 = static_cast<T>(1 - step.beta2),
          .inv_correction2 = static_cast<T>(1 / step.bias_correction2),
          .eps = static_cast<T>(step.eps),
          .decay = static_cast<T>(step.learning_rate * step.weight_decay),
          .step_size = static_cast<T>(step.learning_rate / step.bias_correction1),
          .param = nullptr,
          .grad = nullptr,
          .m = nullptr,
          .v = nullptr,
          .n = 0};
}

// Elements [begin, begin + n) of these; begin is a multiple of 8, the elements that a block of 128 random bits rounds.
void round_block(const float* x, int64_t begin, int64_t n, const RoundingKey& key, BFloat16* y) {
  const std::array<uint32_t, 2> philox_key = {static_cast<uint32_t>(key.seed), static_cast<uint32_t>(key.seed >> 32)};
  for (int64_t i = 0; i < n; i += 8) {
    const std::array<uint32_t, 4> counter = {
        static_cast<uint32_t>((key.first + begin + i) / 8), 0, static_cast<uint32_t>(key.index),
        static_cast<uint32_t>(key.index >> 32) | static_cast<uint32_t>(Purpose::round) << 16};  // as Rng counts
    const std::array<uint32_t, 4> bits = philox4x32(counter, philox_key);
    for (int64_t j = 0; j < std::min<int64_t>(8, n - i); ++j) {
      const uint32_t word = bits[static_cast<size_t>(j / 2)];
      const uint32_t u = j % 2 == 0 ? word : word >> 16;
      y[i + j] = round_stochastically(x[i + j], (u + key.step * 40503u) & 0xffffu);
    }
  }
}

void update_bf16(Tensor& param, const Tensor& grad, Tensor& m, Tensor& v, const AdamWStep& step,
                 const RoundingKey& rounding) {
  const auto kernel = choose(ref::adamw<float>, cpu::adamw);
  const Reader<float> param_r(param, 0), grad_r(grad, 1);
  const Writer<float> param_w(param, 0);  // in place: the block's scratch too
  BFloat16* param_p = param.data<BFloat16>();
  for_blocks(param, [&](int64_t begin, int64_t n) {
    ref::AdamW<float> part = constants<float>(step);
    param_r(begin, n);
    part.param = param_w(begin, n);
    part.grad = grad_r(begin, n);
    part.m = m.data<float>() + begin;
    part.v = v.data<float>() + begin;
    part.n = n;
    kernel(part);
    round_block(part.param, begin, n, rounding, param_p + begin);
  });
}

}  // namespace

BFloat16 round_stochastically(float x, uint32_t random_bits) {
  const uint32_t u = std::bit_cast<uint32_t>(x);
  if ((u & 0x7f800000u) == 0x7f800000u) return to_bf16(x);
  return {static_cast<uint16_t>((u + random_bits) >> 16)};
}

void adamw_update(Tensor& param, const Tensor& grad, Tensor& m, Tensor& v, const AdamWStep& step,
                  const RoundingKey& rounding) {
  const bool wide = grad.dtype() == computed_in(param.dtype());
  require_tensor("adamw_update", "grad", grad, param.shape(), param, wide ? grad.dtype() : param.dtype());
  require_tensor("adamw_update", "m", m, param.shape(), param, computed_in(param.dtype()));
  require_tensor("adamw_update", "v", v, param.shape(), param, computed_in(param.dtype()));
  require(step.bias_correction1 > 0 && step.bias_correction2 > 0,
          "adamw_update: bias corrections are {} and {} but must be positive; count steps from 1",
          step.bias_correction1, step.bias_correction2);
  if (param.dtype() == DType::bf16) return update_bf16(param, grad, m, v, step, rounding);
  for_float_type("adamw_update", param, [&]<class T>() {
    const auto kernel = choose(ref::adamw<T>, cpu::adamw);
    T *param_p = param.data<T>(), *m_p = m.data<T>(), *v_p = v.data<T>();
    const T* grad_p = grad.data<T>();
    for_elements(param.numel(), [&](int64_t begin, int64_t end) {
      ref::AdamW<T> part = constants<T>(step);
      part.param = param_p + begin;
      part.grad = grad_p + begin;
      part.m = m_p + begin;
      part.v = v_p + begin;
      part.n = end - begin;
      kernel(part);
    });
  });
}

}  // namespace gradus::kernels
