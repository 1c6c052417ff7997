#include "gradus/kernels/activation.h"

#include "gradus/kernels/cpu/activation.h"
#include "gradus/kernels/dispatch.h"

namespace gradus::kernels {

void swiglu(const Tensor& gate, const Tensor& up, Tensor& y) {
  require_tensor("swiglu", "up", up, gate.shape(), gate);
  require_tensor("swiglu", "y", y, gate.shape(), gate);
  for_float_type("swiglu", gate, [&]<class T>() {
    const auto kernel = choose(ref::swiglu<T>, cpu::swiglu);
    const T *gate_p = gate.data<T>(), *up_p = up.data<T>();
    T* y_p = y.data<T>();
    for_elements(gate.numel(), [&](int64_t begin, int64_t end) {
      kernel({.gate = gate_p + begin, .up = up_p + begin, .n = end - begin, .y = y_p + begin});
    });
  });
}

void swiglu_backward(const Tensor& gate, const Tensor& up, const Tensor& d_y, Tensor& d_gate, Tensor& d_up) {
  constexpr std::string_view kOp = "swiglu_backward";
  require_tensor(kOp, "up", up, gate.shape(), gate);
  require_tensor(kOp, "d_y", d_y, gate.shape(), gate);
  require_tensor(kOp, "d_gate", d_gate, gate.shape(), gate);
  require_tensor(kOp, "d_up", d_up, gate.shape(), gate);
  for_float_type(kOp, gate, [&]<class T>() {
    const auto kernel = choose(ref::swiglu_backward<T>, cpu::swiglu_backward);
    const T *gate_p = gate.data<T>(), *up_p = up.data<T>(), *d_y_p = d_y.data<T>();
    T *d_gate_p = d_gate.data<T>(), *d_up_p = d_up.data<T>();
    for_elements(gate.numel(), [&](int64_t begin, int64_t end) {
      kernel({.gate = gate_p + begin,
              .up = up_p + begin,
              .d_y = d_y_p + begin,
              .n = end - begin,
              .d_gate = d_gate_p + begin,
              .d_up = d_up_p + begin});
    });
  });
}

}  // namespace gradus::kernels
