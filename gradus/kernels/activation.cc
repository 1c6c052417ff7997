#include "gradus/kernels/activation.h"

#include "gradus/kernels/as_floats.h"
#include "gradus/kernels/cpu/activation.h"

namespace gradus::kernels {

namespace {

// y = f(x), element by element.
template <class Choose>
void activate(std::string_view op, const Tensor& x, Tensor& y, Choose choose_kernel) {
  require_tensor(op, "y", y, x.shape(), x);
  for_computed_type(op, x, [&]<class T>() {
    const auto kernel = choose_kernel.template operator()<T>();
    const Reader<T> x_r(x, 0);
    const Writer<T> y_w(y, 1);
    for_blocks(x, [&](int64_t begin, int64_t n) {
      kernel({.x = x_r(begin, n), .n = n, .y = y_w(begin, n)});
      y_w.store(begin, n);
    });
  });
}

template <class Choose>
void activate_backward(std::string_view op, const Tensor& y, const Tensor& d_y, Tensor& d_x, Choose choose_kernel) {
  require_tensor(op, "d_y", d_y, y.shape(), y);
  require_tensor(op, "d_x", d_x, y.shape(), y);
  for_computed_type(op, y, [&]<class T>() {
    const auto kernel = choose_kernel.template operator()<T>();
    const Reader<T> y_r(y, 0), d_y_r(d_y, 1);
    const Writer<T> d_x_w(d_x, 2);
    for_blocks(y, [&](int64_t begin, int64_t n) {
      kernel({.y = y_r(begin, n), .d_y = d_y_r(begin, n), .n = n, .d_x = d_x_w(begin, n)});
      d_x_w.store(begin, n);
    });
  });
}

}  // namespace

void relu(const Tensor& x, Tensor& y) {
  activate("relu", x, y, []<class T>() { return choose(ref::relu<T>, cpu::relu); });
}
void relu_backward(const Tensor& y, const Tensor& d_y, Tensor& d_x) {
  activate_backward("relu_backward", y, d_y, d_x,
                    []<class T>() { return choose(ref::relu_backward<T>, cpu::relu_backward); });
}
void tanh(const Tensor& x, Tensor& y) {
  activate("tanh", x, y, []<class T>() { return choose(ref::tanh<T>, cpu::tanh); });
}
void tanh_backward(const Tensor& y, const Tensor& d_y, Tensor& d_x) {
  activate_backward("tanh_backward", y, d_y, d_x,
                    []<class T>() { return choose(ref::tanh_backward<T>, cpu::tanh_backward); });
}

void swiglu(const Tensor& gate, const Tensor& up, Tensor& y) {
  require_tensor("swiglu", "up", up, gate.shape(), gate);
  require_tensor("swiglu", "y", y, gate.shape(), gate);
  for_computed_type("swiglu", gate, [&]<class T>() {
    const auto kernel = choose(ref::swiglu<T>, cpu::swiglu);
    const Reader<T> gate_r(gate, 0), up_r(up, 1);
    const Writer<T> y_w(y, 2);
    for_blocks(gate, [&](int64_t begin, int64_t n) {
      kernel({.gate = gate_r(begin, n), .up = up_r(begin, n), .n = n, .y = y_w(begin, n)});
      y_w.store(begin, n);
    });
  });
}

void swiglu_backward(const Tensor& gate, const Tensor& up, const Tensor& d_y, Tensor& d_gate, Tensor& d_up) {
  constexpr std::string_view kOp = "swiglu_backward";
  require_tensor(kOp, "up", up, gate.shape(), gate);
  require_tensor(kOp, "d_y", d_y, gate.shape(), gate);
  require_tensor(kOp, "d_gate", d_gate, gate.shape(), gate);
  require_tensor(kOp, "d_up", d_up, gate.shape(), gate);
  for_computed_type(kOp, gate, [&]<class T>() {
    const auto kernel = choose(ref::swiglu_backward<T>, cpu::swiglu_backward);
    const Reader<T> gate_r(gate, 0), up_r(up, 1), d_y_r(d_y, 2);
    const Writer<T> d_gate_w(d_gate, 3), d_up_w(d_up, 4);
    for_blocks(gate, [&](int64_t begin, int64_t n) {
      kernel({.gate = gate_r(begin, n),
              .up = up_r(begin, n),
              .d_y = d_y_r(begin, n),
              .n = n,
              .d_gate = d_gate_w(begin, n),
              .d_up = d_up_w(begin, n)});
      d_gate_w.store(begin, n);
      d_up_w.store(begin, n);
    });
  });
}

}  // namespace gradus::kernels
