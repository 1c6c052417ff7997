#include "gradus/kernels/elementwise.h"

#include <atomic>
#include <cmath>

#include "gradus/kernels/as_floats.h"
#include "gradus/kernels/cpu/elementwise.h"
#include "gradus/kernels/ref/elementwise.h"

namespace gradus::kernels {

namespace {

void add_into(std::string_view op, const Tensor& a, const Tensor& b, Tensor& y) {
  for_computed_type(op, a, [&]<class T>() {
    const auto kernel = choose(ref::add<T>, cpu::add);
    const Reader<T> a_r(a, 0), b_r(b, 1);
    const Writer<T> y_w(y, 2);
    for_blocks(a, [&](int64_t begin, int64_t n) {
      kernel(a_r(begin, n), b_r(begin, n), n, y_w(begin, n));
      y_w.store(begin, n);
    });
  });
}

int64_t n_chunks(const Tensor& x) {
  return (x.numel() + kSumChunk - 1) / kSumChunk;
}

void chunk_dots(std::string_view op, const Tensor& x, const Tensor& w, double* sums) {
  for_computed_type(op, x, [&]<class T>() {
    const auto kernel = choose(ref::dot<T>, cpu::dot);
    const Reader<T> x_r(x, 0), w_r(w, 1);
    const int64_t n = x.numel();
    for_rows(n_chunks(x), kSumChunk, [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) {
        const int64_t first = c * kSumChunk, count = std::min(kSumChunk, n - first);
        sums[c] = kernel(x_r(first, count), w_r(first, count), count);
      }
    });
  });
}

double chunked_dot(std::string_view op, const Tensor& x, const Tensor& w) {
  Tensor sums = Tensor::empty({n_chunks(x)}, DType::f64);
  chunk_dots(op, x, w, sums.data<double>());
  double sum = 0;
  for (const double s : sums.span<double>()) sum += s;
  return sum;
}

template <class T>
void fill_with(Tensor& x, T value) {
  T* x_p = x.data<T>();
  for_elements(x.numel(), [&](int64_t begin, int64_t end) { std::fill(x_p + begin, x_p + end, value); });
}

}  // namespace

void fill(Tensor& x, double value) {
  require_cpu("fill", x);
  if (x.dtype() == DType::bf16) return fill_with(x, to_bf16(static_cast<float>(value)));
  if (x.dtype() == DType::f16) return fill_with(x, to_f16(static_cast<float>(value)));
  for_float_type("fill", x, [&]<class T>() { fill_with(x, static_cast<T>(value)); });
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
  for_computed_type("scale_in_place", x, [&]<class T>() {
    const auto kernel = choose(ref::scale<T>, cpu::scale);
    const Editor<T> x_e(x, 0);
    for_blocks(x, [&](int64_t begin, int64_t n) {
      kernel(static_cast<T>(s), n, x_e(begin, n));
      x_e.store(begin, n);
    });
  });
}

void axpy(double alpha, const Tensor& x, Tensor& y) {
  require_tensor("axpy", "y", y, x.shape(), x);
  for_computed_type("axpy", x, [&]<class T>() {
    const auto kernel = choose(ref::axpy<T>, cpu::axpy);
    const Reader<T> x_r(x, 0);
    const Editor<T> y_e(y, 1);
    for_blocks(x, [&](int64_t begin, int64_t n) {
      kernel(static_cast<T>(alpha), x_r(begin, n), n, y_e(begin, n));
      y_e.store(begin, n);
    });
  });
}

void lerp(double t, const Tensor& x, Tensor& y) {
  require_tensor("lerp", "y", y, x.shape(), x);
  for_float_type("lerp", x, [&]<class T>() {
    const auto kernel = choose(ref::lerp<T>, cpu::lerp);
    const T* x_p = x.data<T>();
    T* y_p = y.data<T>();
    for_elements(x.numel(),
                 [&](int64_t begin, int64_t end) { kernel(static_cast<T>(t), x_p + begin, end - begin, y_p + begin); });
  });
}

void add_bias(Tensor& y, const Tensor& bias) {
  require_matrix("add_bias", "y", y);
  const int64_t cols = y.dim(1);
  require_tensor("add_bias", "bias", bias, {cols}, y, computed_in(y.dtype()));
  for_computed_type("add_bias", y, [&]<class T>() {
    const auto kernel = choose(ref::add<T>, cpu::add);
    const T* bias_p = bias.data<T>();
    const Reader<T> y_r(y, 0);
    const Writer<T> y_w(y, 1);
    for_rows(y.dim(0), cols, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        kernel(y_r(r * cols, cols), bias_p, cols, y_w(r * cols, cols));
        y_w.store(r * cols, cols);
      }
    });
  });
}

void bias_backward(const Tensor& d_y, Tensor& d_bias) {
  require_matrix("bias_backward", "d_y", d_y);
  const int64_t cols = d_y.dim(1);
  require_tensor("bias_backward", "d_bias", d_bias, {cols}, d_y, computed_in(d_y.dtype()));
  for_computed_type("bias_backward", d_y, [&]<class T>() {
    const auto kernel = choose(ref::sum_rows<T>, cpu::sum_rows);
    const Reader<T> d_y_r(d_y, 0);
    add_row_chunks(d_y.dim(0), cols, kBiasRowChunk, d_bias.data<T>(), [&](int64_t begin, int64_t end, T* partial) {
      kernel(d_y_r(begin * cols, (end - begin) * cols), end - begin, cols, partial);
    });
  });
}

double sum_of_squares(const Tensor& x) {
  return chunked_dot("sum_of_squares", x, x);
}

void sum_of_squares(const Tensor& x, std::span<double> chunks) {
  require(static_cast<int64_t>(chunks.size()) == n_chunks(x),
          "sum_of_squares: {} sums for the {} chunks of {} elements", chunks.size(), n_chunks(x), x.numel());
  chunk_dots("sum_of_squares", x, x, chunks.data());
}

double dot(const Tensor& x, const Tensor& w) {
  require_tensor("dot", "w", w, x.shape(), x);
  return chunked_dot("dot", x, w);
}

bool all_finite(const Tensor& x) {
  std::atomic<bool> finite{true};
  for_computed_type("all_finite", x, [&]<class T>() {
    const auto kernel = choose(ref::all_finite<T>, cpu::all_finite);
    const Reader<T> x_r(x, 0);
    for_blocks(x, [&](int64_t begin, int64_t n) {
      if (!kernel(x_r(begin, n), n)) finite.store(false, std::memory_order_relaxed);
    });
  });
  return finite.load(std::memory_order_relaxed);
}

int64_t count_below(const Tensor& x, double limit) {
  std::atomic<int64_t> total{0};
  for_computed_type("count_below", x, [&]<class T>() {
    const Reader<T> x_r(x, 0);
    for_blocks(x, [&](int64_t begin, int64_t n) {
      const T* x_p = x_r(begin, n);
      const auto is_below = [limit](T value) { return std::abs(value) < static_cast<T>(limit); };
      total.fetch_add(std::count_if(x_p, x_p + n, is_below), std::memory_order_relaxed);
    });
  });
  return total.load(std::memory_order_relaxed);
}

}  // namespace gradus::kernels
