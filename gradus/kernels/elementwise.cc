#include "gradus/kernels/elementwise.h"

#include <atomic>

#include "gradus/kernels/cpu/elementwise.h"
#include "gradus/kernels/dispatch.h"
#include "gradus/kernels/ref/elementwise.h"

namespace gradus::kernels {

namespace {

void add_into(std::string_view op, const Tensor& a, const Tensor& b, Tensor& y) {
  for_float_type(op, a, [&]<class T>() {
    const auto kernel = choose(ref::add<T>, cpu::add);
    const T *a_p = a.data<T>(), *b_p = b.data<T>();
    T* y_p = y.data<T>();
    for_elements(a.numel(),
                 [&](int64_t begin, int64_t end) { kernel(a_p + begin, b_p + begin, end - begin, y_p + begin); });
  });
}

double chunked_dot(std::string_view op, const Tensor& x, const Tensor& w) {
  double sum = 0;
  for_float_type(op, x, [&]<class T>() {
    const auto kernel = choose(ref::dot<T>, cpu::dot);
    const T *x_p = x.data<T>(), *w_p = w.data<T>();
    const int64_t n = x.numel(), n_chunks = (n + kSumChunk - 1) / kSumChunk;
    Tensor partials = Tensor::empty({n_chunks}, DType::f64);
    double* p = partials.data<double>();
    for_rows(n_chunks, kSumChunk, [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) {
        const int64_t first = c * kSumChunk;
        p[c] = kernel(x_p + first, w_p + first, std::min(kSumChunk, n - first));
      }
    });
    for (int64_t c = 0; c < n_chunks; ++c) sum += p[c];
  });
  return sum;
}

}  // namespace

void fill(Tensor& x, double value) {
  for_float_type("fill", x, [&]<class T>() {
    T* x_p = x.data<T>();
    for_elements(x.numel(),
                 [&](int64_t begin, int64_t end) { std::fill(x_p + begin, x_p + end, static_cast<T>(value)); });
  });
}

void add(const Tensor& a, const Tensor& b, Tensor& y) {
  require_tensor("add", "b", b, a.shape(), a);
  require_tensor("add", "y", y, a.shape(), a);
  add_into("add", a, b, y);
}

void add_in_place(Tensor& y, const Tensor& x) {
  require_tensor("add_in_place", "x", x, y.shape(), y);
  add_into("add_in_place", y, x, y);
}

void scale_in_place(Tensor& x, double s) {
  for_float_type("scale_in_place", x, [&]<class T>() {
    const auto kernel = choose(ref::scale<T>, cpu::scale);
    T* x_p = x.data<T>();
    for_elements(x.numel(), [&](int64_t begin, int64_t end) { kernel(static_cast<T>(s), end - begin, x_p + begin); });
  });
}

void axpy(double alpha, const Tensor& x, Tensor& y) {
  require_tensor("axpy", "y", y, x.shape(), x);
  for_float_type("axpy", x, [&]<class T>() {
    const auto kernel = choose(ref::axpy<T>, cpu::axpy);
    const T* x_p = x.data<T>();
    T* y_p = y.data<T>();
    for_elements(x.numel(), [&](int64_t begin, int64_t end) {
      kernel(static_cast<T>(alpha), x_p + begin, end - begin, y_p + begin);
    });
  });
}

void add_bias(Tensor& y, const Tensor& bias) {
  require_matrix("add_bias", "y", y);
  const int64_t cols = y.dim(1);
  require_tensor("add_bias", "bias", bias, {cols}, y);
  for_float_type("add_bias", y, [&]<class T>() {
    const auto kernel = choose(ref::add_bias<T>, cpu::add_bias);
    const T* bias_p = bias.data<T>();
    T* y_p = y.data<T>();
    for_rows(y.dim(0), cols,
             [&](int64_t begin, int64_t end) { kernel(bias_p, end - begin, cols, y_p + begin * cols); });
  });
}

void bias_backward(const Tensor& d_y, Tensor& d_bias) {
  require_matrix("bias_backward", "d_y", d_y);
  const int64_t cols = d_y.dim(1);
  require_tensor("bias_backward", "d_bias", d_bias, {cols}, d_y);
  for_float_type("bias_backward", d_y, [&]<class T>() {
    const auto kernel = choose(ref::sum_rows<T>, cpu::sum_rows);
    const T* d_y_p = d_y.data<T>();
    add_row_chunks(d_y.dim(0), cols, kBiasRowChunk, d_bias.data<T>(), [&](int64_t begin, int64_t end, T* partial) {
      kernel(d_y_p + begin * cols, end - begin, cols, partial);
    });
  });
}

double sum_of_squares(const Tensor& x) {
  return chunked_dot("sum_of_squares", x, x);
}

double dot(const Tensor& x, const Tensor& w) {
  require_tensor("dot", "w", w, x.shape(), x);
  return chunked_dot("dot", x, w);
}

bool all_finite(const Tensor& x) {
  std::atomic<bool> finite{true};
  for_float_type("all_finite", x, [&]<class T>() {
    const auto kernel = choose(ref::all_finite<T>, cpu::all_finite);
    const T* x_p = x.data<T>();
    for_elements(x.numel(), [&](int64_t begin, int64_t end) {
      if (!kernel(x_p + begin, end - begin)) finite.store(false, std::memory_order_relaxed);
    });
  });
  return finite.load(std::memory_order_relaxed);
}

}  // namespace gradus::kernels
