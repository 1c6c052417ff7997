// Oracle of gradus/kernels/adamw.h.
#pragma once

#include <cmath>
#include <cstdint>

#include "gradus/kernels/ref/scalar.h"

namespace gradus::kernels::ref {

// The step's constants, rounded to T, and n elements of each tensor.
template <class T>
struct AdamW {
  T grad_scale;
  T beta1, one_minus_beta1;
  T beta2, one_minus_beta2;
  T inv_correction2;  // 1 / bias_correction2
  T eps;
  T decay;      // learning_rate * weight_decay
  T step_size;  // learning_rate / bias_correction1
  T* param;
  const T* grad;
  T* m;
  T* v;
  int64_t n;
};

template <class T>
void adamw(const AdamW<T>& a) {
  const MultiplyAdd mul_add;
  for (int64_t i = 0; i < a.n; ++i) {
    const T g = a.grad[i] * a.grad_scale;
    a.m[i] = mul_add(a.beta1, a.m[i], a.one_minus_beta1 * g);
    a.v[i] = mul_add(a.beta2, a.v[i], (a.one_minus_beta2 * g) * g);
    const T r = a.m[i] / (std::sqrt(a.v[i] * a.inv_correction2) + a.eps);
    const T decayed = mul_add(-a.decay, a.param[i], a.param[i]);
    a.param[i] = mul_add(-a.step_size, r, decayed);
  }
}

}  // namespace gradus::kernels::ref
