// Oracle of gradus/kernels/softmax.h and sampling.h, a row at a time. Notation as there.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "gradus/kernels/ref/scalar.h"

namespace gradus::kernels::ref {

template <class T>
T row_max(const T* z, int64_t n) {
  T m = -std::numeric_limits<T>::infinity();
  for (int64_t j = 0; j < n; ++j) m = std::max(m, z[j]);
  return m;
}

template <class T>
T log_sum_exp(const T* z, int64_t n, T inv) {
  const MultiplyAdd mul_add;
  const T m = row_max(z, n) * inv;
  const T sum = sum_16_lanes<T>(n, [&](T lane, int64_t j) { return lane + exp(z[j] * inv - m, mul_add); });
  return m + std::log(sum);
}

template <class T>
void softmax(const T* x, int64_t n, T* y) {
  const MultiplyAdd mul_add;
  const T m = row_max(x, n);
  if (m == -std::numeric_limits<T>::infinity()) {
    std::fill_n(y, n, T(0));
    return;
  }
  for (int64_t j = 0; j < n; ++j) y[j] = exp(x[j] - m, mul_add);
  const T share = T(1) / sum_16_lanes<T>(n, [&](T lane, int64_t j) { return lane + y[j]; });
  for (int64_t j = 0; j < n; ++j) y[j] *= share;
}

// z[j] becomes -(g * p_j); the caller adds g at the id.
template <class T>
struct LogProbBackwardRow {
  T* z;
  int64_t n;
  T inv;
  T lse;
  T g;
};

template <class T>
void log_prob_backward(const LogProbBackwardRow<T>& a) {
  const MultiplyAdd mul_add;
  for (int64_t j = 0; j < a.n; ++j) a.z[j] = -(a.g * exp(a.z[j] * a.inv - a.lse, mul_add));
}

// The id whose stretch of the cumulative distribution holds u.
template <class T>
struct SampleRow {
  const T* z;
  int64_t n;
  T inv;
  T lse;
  float u;
};

template <class T>
int32_t sample(const SampleRow<T>& a) {
  const MultiplyAdd mul_add;
  double cumulative = 0;
  int64_t last = 0;
  for (int64_t j = 0; j < a.n; ++j) {
    const T p = exp(a.z[j] * a.inv - a.lse, mul_add);
    if (p > 0) last = j;
    cumulative += p;
    if (cumulative > a.u) return static_cast<int32_t>(j);
  }
  return static_cast<int32_t>(last);
}

}  // namespace gradus::kernels::ref
