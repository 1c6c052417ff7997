// Oracle of gradus/kernels/norm.h: the contract's formulas in the contract's order.
#pragma once

#include <cmath>
#include <cstdint>

#include "gradus/kernels/ref/scalar.h"

namespace gradus::kernels::ref {

// Arguments as in gradus/kernels/norm.h, of one row.
template <class T>
struct RmsNorm {
  const T* x;
  const T* gain;
  T eps;
  int64_t cols;
  T* y;
  T* inv_rms;
};

template <class T>
void rms_norm(const RmsNorm<T>& a) {
  const MultiplyAdd mul_add;
  const T squares = sum_16_lanes<T>(a.cols, [&](T lane, int64_t j) { return mul_add(a.x[j], a.x[j], lane); });
  const T inv = T(1) / std::sqrt(squares / static_cast<T>(a.cols) + a.eps);
  for (int64_t j = 0; j < a.cols; ++j) a.y[j] = (a.x[j] * inv) * a.gain[j];
  *a.inv_rms = inv;
}

template <class T>
struct RmsNormBackward {
  const T* x;
  const T* gain;
  T inv_rms;
  const T* d_y;
  int64_t cols;
  T* d_x;
  T* d_gain;  // [cols] the chain over the rows goes on from it
};

template <class T>
void rms_norm_backward(const RmsNormBackward<T>& a) {
  const MultiplyAdd mul_add;
  const T inv = a.inv_rms;
  const T dot = sum_16_lanes<T>(a.cols, [&](T lane, int64_t j) { return mul_add(a.d_y[j] * a.gain[j], a.x[j], lane); });
  const T c = dot * inv * inv * inv / static_cast<T>(a.cols);
  for (int64_t j = 0; j < a.cols; ++j) {
    const T d_y = a.d_y[j];
    a.d_gain[j] = mul_add(d_y, a.x[j] * inv, a.d_gain[j]);
    a.d_x[j] = mul_add(-c, a.x[j], inv * (d_y * a.gain[j]));
  }
}

}  // namespace gradus::kernels::ref
