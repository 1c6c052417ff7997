// Oracle of gradus/kernels/norm.h: the contract's formulas in the contract's order.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "gradus/kernels/ref/scalar.h"

namespace gradus::kernels::ref {

// Arguments as in gradus/kernels/norm.h, of `rows` consecutive rows.
template <class T>
struct RmsNorm {
  const T* x;
  const T* gain;
  T eps;
  int64_t rows;
  int64_t cols;
  T* y;
  T* inv_rms;
};

template <class T>
void rms_norm(const RmsNorm<T>& a) {
  const MultiplyAdd mul_add;
  for (int64_t r = 0; r < a.rows; ++r) {
    const T* x = a.x + r * a.cols;
    T* y = a.y + r * a.cols;
    const T squares = sum_16_lanes<T>(a.cols, [&](T lane, int64_t j) { return mul_add(x[j], x[j], lane); });
    const T inv = T(1) / std::sqrt(squares / static_cast<T>(a.cols) + a.eps);
    for (int64_t j = 0; j < a.cols; ++j) y[j] = (x[j] * inv) * a.gain[j];
    a.inv_rms[r] = inv;
  }
}

template <class T>
struct RmsNormBackward {
  const T* x;
  const T* gain;
  const T* inv_rms;
  const T* d_y;
  int64_t rows;
  int64_t cols;
  T* d_x;
  T* d_gain;  // [cols] overwritten with the chain over these rows
};

template <class T>
void rms_norm_backward(const RmsNormBackward<T>& a) {
  const MultiplyAdd mul_add;
  std::fill_n(a.d_gain, a.cols, T(0));
  for (int64_t r = 0; r < a.rows; ++r) {
    const T* x = a.x + r * a.cols;
    const T* d_y = a.d_y + r * a.cols;
    T* d_x = a.d_x + r * a.cols;
    const T inv = a.inv_rms[r];
    const T dot = sum_16_lanes<T>(a.cols, [&](T lane, int64_t j) { return mul_add(d_y[j] * a.gain[j], x[j], lane); });
    const T c = dot * inv * inv * inv / static_cast<T>(a.cols);
    for (int64_t j = 0; j < a.cols; ++j) {
      a.d_gain[j] = mul_add(d_y[j], x[j] * inv, a.d_gain[j]);
      d_x[j] = mul_add(-c, x[j], inv * (d_y[j] * a.gain[j]));
    }
  }
}

}  // namespace gradus::kernels::ref
