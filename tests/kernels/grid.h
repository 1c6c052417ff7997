// What the kernel tests share: the grid of sizes and instruction sets, random tensors, comparison of bits, and
// gradients by central differences.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "gradus/core/rng.h"
#include "gradus/core/tensor.h"
#include "gradus/core/thread_pool.h"
#include "gradus/kernels/convert.h"
#include "gradus/kernels/isa.h"

namespace gradus::kernels {

inline constexpr int64_t kSizes[] = {0, 1, 2, 7, 31, 64, 257};

// Forces each instruction set of this machine in turn; afterwards the one before is active again.
template <class Body>
void for_each_isa(Body body) {
  struct Restore {
    Isa before = active_isa();
    ~Restore() { set_isa(before); }
  } restore;
  for (const Isa isa : supported_isas()) {
    SCOPED_TRACE(std::string(name(isa)));
    set_isa(isa);
    body();
  }
}

template <class Body>
void for_1_2_3_threads(Body body) {
  for (const int n : {1, 2, 3}) {
    SCOPED_TRACE(n);
    set_pool_threads(n);
    body();
  }
  set_pool_threads(available_cpus());
}

// Normal numbers times `scale`, rounded to dtype; the same for the same (shape, stream).
inline Tensor random_tensor(Shape shape, DType dtype, uint64_t stream, double scale = 1) {
  Tensor t = Tensor::empty(shape, DType::f64);
  Rng rng(1, Purpose::test, stream);
  for (double& x : t.span<double>()) x = scale * rng.normal();
  return converted(t, dtype);
}

inline std::vector<int32_t> random_ids(int64_t n, int64_t limit, uint64_t stream) {
  std::vector<int32_t> ids(static_cast<size_t>(n));
  Rng rng(2, Purpose::test, stream);
  for (auto& id : ids) id = static_cast<int32_t>(rng.below(limit));
  return ids;
}

inline ::testing::AssertionResult same_bits(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) {
    return ::testing::AssertionFailure() << to_string(a.shape()) << " against " << to_string(b.shape());
  }
  const auto *p = static_cast<const std::byte*>(a.raw()), *q = static_cast<const std::byte*>(b.raw());
  const size_t size = size_of(a.dtype());
  for (size_t i = 0; i < static_cast<size_t>(a.numel()); ++i) {
    if (std::memcmp(p + i * size, q + i * size, size) == 0) continue;
    auto result = ::testing::AssertionFailure() << "element " << i << " of " << to_string(a.shape());
    if (a.dtype() == DType::f32) result << ": " << a.data<float>()[i] << " against " << b.data<float>()[i];
    if (a.dtype() == DType::f64) result << ": " << a.data<double>()[i] << " against " << b.data<double>()[i];
    return result;
  }
  return ::testing::AssertionSuccess();
}

// sum_i f_i * w_i in double, a scalar loss whose gradient at f is w.
inline double weighted_sum(const Tensor& f, const Tensor& w) {
  double sum = 0;
  for (int64_t i = 0; i < f.numel(); ++i) sum += f.data<double>()[i] * w.data<double>()[i];
  return sum;
}

// d_x against central differences of `loss`, which reads x.
inline void expect_gradient(Tensor& x, const Tensor& d_x, const std::function<double()>& loss) {
  constexpr double kStep = 1e-6;
  for (int64_t i = 0; i < x.numel(); ++i) {
    double& x_i = x.data<double>()[i];
    const double at = x_i;
    x_i = at + kStep;
    const double above = loss();
    x_i = at - kStep;
    const double below = loss();
    x_i = at;
    const double expected = (above - below) / (2 * kStep);
    EXPECT_NEAR(d_x.data<double>()[i], expected, 1e-7 * (1 + std::abs(expected))) << "element " << i;
  }
}

// The code of the Error that `body` throws; fails the test when it throws none.
template <class Body>
ErrorCode error_code_of(Body body) {
  try {
    body();
  } catch (const Error& e) {
    return e.code();
  }
  ADD_FAILURE() << "no Error was thrown";
  return ErrorCode::io;
}

}  // namespace gradus::kernels
