// Oracle of gradus/kernels/activation.h.
#pragma once

#include <cmath>
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

// y = f(x) of n elements; its backward reads y and d_y.
template <class T>
struct Activation {
  const T* x;
  int64_t n;
  T* y;
};
template <class T>
struct ActivationBackward {
  const T* y;
  const T* d_y;
  int64_t n;
  T* d_x;
};

template <class T>
void relu(const Activation<T>& a) {
  for (int64_t i = 0; i < a.n; ++i) a.y[i] = a.x[i] < T(0) ? T(0) : a.x[i];
}
template <class T>
void relu_backward(const ActivationBackward<T>& a) {
  for (int64_t i = 0; i < a.n; ++i) a.d_x[i] = a.y[i] > T(0) ? a.d_y[i] : T(0);
}

template <class T>
void tanh(const Activation<T>& a) {
  const MultiplyAdd mul_add;
  for (int64_t i = 0; i < a.n; ++i) a.y[i] = tanh(a.x[i], mul_add);
}
template <class T>
void tanh_backward(const ActivationBackward<T>& a) {
  const MultiplyAdd mul_add;
  for (int64_t i = 0; i < a.n; ++i) a.d_x[i] = a.d_y[i] * mul_add(-a.y[i], a.y[i], T(1));
}

}  // namespace gradus::kernels::ref
