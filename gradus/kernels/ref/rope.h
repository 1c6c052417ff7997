// Oracle of gradus/kernels/rope.h.
#pragma once

#include <cstdint>

#include "gradus/kernels/ref/scalar.h"

namespace gradus::kernels::ref {

// Rotates `heads` heads of one row in place by the table's row for its position; `sign` -1 is the inverse.
template <class T>
struct RopeRow {
  T* x;          // [heads, 2 * half]
  const T* cos;  // [half]
  const T* sin;  // [half]
  T sign;
  int64_t heads;
  int64_t half;
};

template <class T>
void rope_row(const RopeRow<T>& a) {
  const MultiplyAdd mul_add;
  for (int64_t h = 0; h < a.heads; ++h) {
    T* low = a.x + h * 2 * a.half;
    T* high = low + a.half;
    for (int64_t i = 0; i < a.half; ++i) {
      const T x1 = low[i], x2 = high[i], c = a.cos[i], s = a.sign * a.sin[i];
      low[i] = mul_add(-x2, s, x1 * c);
      high[i] = mul_add(x1, s, x2 * c);
    }
  }
}

}  // namespace gradus::kernels::ref
