// Oracle of gradus/kernels/combine.h.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>

#include "gradus/core/dtype.h"
#include "gradus/kernels/combine.h"

namespace gradus::kernels::ref {

template <class T>
T widened(T x) {
  return x;
}
inline float widened(BFloat16 x) {
  return to_float(x);
}
inline float widened(Float16 x) {
  return to_float(x);
}
template <class T, class C>
T narrowed(C x) {
  if constexpr (std::is_same_v<T, BFloat16>) return to_bf16(x);
  if constexpr (std::is_same_v<T, Float16>) return to_f16(x);
  if constexpr (std::is_same_v<T, C>) return x;
}

// a < b, with -0 below +0; neither is NaN.
template <class T>
bool is_less(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (a == b) return std::signbit(a) && !std::signbit(b);
  }
  return a < b;
}

template <class T>
T combined(ReduceOp op, T a, T b) {
  if (op == ReduceOp::min || op == ReduceOp::max) {
    if (a != a || b != b) return std::numeric_limits<T>::quiet_NaN();
    return is_less(a, b) == (op == ReduceOp::min) ? a : b;
  }
  if constexpr (std::is_integral_v<T>) {
    const auto u = static_cast<uint64_t>(a), v = static_cast<uint64_t>(b);
    return static_cast<T>(op == ReduceOp::prod ? u * v : u + v);  // wraps around
  } else {
    return op == ReduceOp::prod ? a * b : a + b;
  }
}

template <class T>
T divided(T sum, int64_t n) {
  if constexpr (std::is_integral_v<T>) return static_cast<T>(sum / n);
  return sum / static_cast<T>(n);
}

// T(x_0[i], ..., x_{n-1}[i])
template <class T>
auto tree(ReduceOp op, std::span<const void* const> xs, int64_t i) {
  if (xs.size() == 1) return widened(static_cast<const T*>(xs[0])[i]);
  const size_t p = std::bit_floor(xs.size() - 1);
  return combined(op, tree<T>(op, xs.first(p), i), tree<T>(op, xs.subspan(p), i));
}

// What combine() was called with.
struct Combination {
  ReduceOp op;
  DType dtype;
  std::span<const void* const> xs;
  void* y;
  int64_t count, n_mean;
};

template <class T>
void combine_as(const Combination& c) {
  T* y = static_cast<T*>(c.y);
  for (int64_t i = 0; i < c.count; ++i) {
    const auto whole = tree<T>(c.op, c.xs, i);
    y[i] = narrowed<T>(c.op == ReduceOp::mean ? divided(whole, c.n_mean) : whole);
  }
}

inline void combine(const Combination& c) {
  switch (c.dtype) {
    case DType::f64:
      return combine_as<double>(c);
    case DType::f32:
      return combine_as<float>(c);
    case DType::bf16:
      return combine_as<BFloat16>(c);
    case DType::f16:
      return combine_as<Float16>(c);
    case DType::i64:
      return combine_as<int64_t>(c);
    case DType::i32:
      return combine_as<int32_t>(c);
    case DType::u8:
      return combine_as<uint8_t>(c);
  }
}

}  // namespace gradus::kernels::ref
