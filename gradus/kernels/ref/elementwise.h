// Oracle of gradus/kernels/elementwise.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "gradus/kernels/ref/scalar.h"

namespace gradus::kernels::ref {

template <class T>
void add(const T* a, const T* b, int64_t n, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = a[i] + b[i];
}

template <class T>
void scale(T s, int64_t n, T* x) {
  for (int64_t i = 0; i < n; ++i) x[i] *= s;
}

template <class T>
void axpy(T alpha, const T* x, int64_t n, T* y) {
  const MultiplyAdd mul_add;
  for (int64_t i = 0; i < n; ++i) y[i] = mul_add(alpha, x[i], y[i]);
}

template <class T>
void lerp(T t, const T* x, int64_t n, T* y) {
  const MultiplyAdd mul_add;
  for (int64_t i = 0; i < n; ++i) y[i] = mul_add(t, x[i] - y[i], y[i]);
}

// sum[j] = x[0, j] + x[1, j] + ..., from 0.
template <class T>
void sum_rows(const T* x, int64_t rows, int64_t cols, T* sum) {
  std::fill_n(sum, cols, T(0));
  for (int64_t r = 0; r < rows; ++r) add(sum, x + r * cols, cols, sum);
}

template <class T>
double dot(const T* x, const T* w, int64_t n) {
  return sum_16_lanes<double>(
      n, [&](double lane, int64_t i) { return lane + static_cast<double>(x[i]) * static_cast<double>(w[i]); });
}

template <class T>
bool all_finite(const T* x, int64_t n) {
  return std::all_of(x, x + n, [](T v) { return std::isfinite(v); });
}

}  // namespace gradus::kernels::ref
