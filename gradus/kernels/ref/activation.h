// Oracle of gradus/kernels/activation.h.
#pragma once

#include <cstdint>

#include "gradus/kernels/ref/scalar.h"

namespace gradus::kernels::ref {

// Arguments as in gradus/kernels/activation.h, n elements.
template <class T>
struct SwiGlu {
  const T* gate;
  const T* up;
  int64_t n;
  T* y;
};

template <class T>
T sigmoid(T x, MultiplyAdd mul_add) {
  return T(1) / (T(1) + exp(-x, mul_add));
}

template <class T>
void swiglu(const SwiGlu<T>& a) {
  const MultiplyAdd mul_add;
  for (int64_t i = 0; i < a.n; ++i) a.y[i] = (a.gate[i] * sigmoid(a.gate[i], mul_add)) * a.up[i];
}

template <class T>
struct SwiGluBackward {
  const T* gate;
  const T* up;
  const T* d_y;
  int64_t n;
  T* d_gate;
  T* d_up;
};

template <class T>
void swiglu_backward(const SwiGluBackward<T>& a) {
  const MultiplyAdd mul_add;
  for (int64_t i = 0; i < a.n; ++i) {
    const T gate = a.gate[i], up = a.up[i], d_y = a.d_y[i];
    const T s = sigmoid(gate, mul_add);
    const T t = mul_add(gate, T(1) - s, T(1));
    a.d_up[i] = d_y * (gate * s);
    a.d_gate[i] = (d_y * up) * (s * t);
  }
}

}  // namespace gradus::kernels::ref
