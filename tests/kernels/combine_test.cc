#include "gradus/kernels/combine.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "tests/kernels/grid.h"

namespace gradus::kernels {
namespace {

constexpr ReduceOp kOps[] = {ReduceOp::sum, ReduceOp::mean, ReduceOp::min, ReduceOp::max, ReduceOp::prod};
constexpr size_t kArrays[] = {1, 2, 3, 4, 5, 7, 8, 13};
constexpr int64_t kCounts[] = {0, 1, 2, 7, 31, 64, 257, 1025};
constexpr int64_t kMostElements = 1025;

template <class T>
using Array = std::vector<T>;

template <class T>
std::span<const std::byte> bytes(const Array<T>& x) {
  return std::as_bytes(std::span(x));
}
template <class T>
bool same(const Array<T>& a, const Array<T>& b) {
  return std::ranges::equal(bytes(a), bytes(b));
}

float plain(BFloat16 x) {
  return to_float(x);
}
float plain(Float16 x) {
  return to_float(x);
}
template <class T>
T plain(T x) {
  return x;
}
template <class T, class C>
T rounded(C x) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return to_bf16(x);
  } else if constexpr (std::is_same_v<T, Float16>) {
    return to_f16(x);
  } else {
    return static_cast<T>(x);
  }
}

// Integers of all bits; floats of several magnitudes, so that the order of a sum shows.
template <class T>
std::vector<Array<T>> random_arrays(size_t n, int64_t count) {
  Rng rng(3, Purpose::test, 7);
  std::vector<Array<T>> xs(n, Array<T>(static_cast<size_t>(count)));
  for (Array<T>& x : xs) {
    for (T& v : x) {
      if constexpr (std::is_integral_v<T>) {
        v = static_cast<T>(rng.bits64());
      } else {
        v = rounded<T>(static_cast<decltype(plain(T{}))>(std::ldexp(rng.normal(), static_cast<int>(rng.below(8)) - 4)));
      }
    }
  }
  return xs;
}

template <class T>
std::vector<const void*> pointers(const std::vector<Array<T>>& xs) {
  std::vector<const void*> out;
  for (const Array<T>& x : xs) out.push_back(x.data());
  return out;
}

template <class T>
Array<T> combined(ReduceOp op, const std::vector<Array<T>>& xs, int64_t n_mean = 1) {
  Array<T> y(xs[0].size());
  combine(op, dtype_of<T>::value, pointers(xs), y.data(), static_cast<int64_t>(y.size()), n_mean);
  return y;
}

// The binary counter itself, over the numbers of one element.
template <class C, class Step>
C counter_tree(const std::vector<C>& values, Step step) {
  struct Partial {
    C value;
    int height;
  };
  std::vector<Partial> stack;
  const auto merge_top = [&] {
    const Partial right = stack.back();
    stack.pop_back();
    stack.back() = {step(stack.back().value, right.value), stack.back().height + 1};
  };
  for (const C v : values) {
    stack.push_back({v, 0});
    while (stack.size() > 1 && stack.back().height == stack[stack.size() - 2].height) merge_top();
  }
  while (stack.size() > 1) merge_top();
  return stack[0].value;
}

template <class T>
T expected_element(ReduceOp op, const std::vector<Array<T>>& xs, size_t i, int64_t n_mean) {
  using C = decltype(plain(T{}));
  std::vector<C> values;
  for (const Array<T>& x : xs) values.push_back(plain(x[i]));
  if (op == ReduceOp::min) return rounded<T>(*std::ranges::min_element(values));
  if (op == ReduceOp::max) return rounded<T>(*std::ranges::max_element(values));
  if constexpr (std::is_integral_v<T>) {
    uint64_t sum = 0, product = 1;
    for (const C v : values) {
      sum += static_cast<uint64_t>(v);
      product *= static_cast<uint64_t>(v);
    }
    if (op == ReduceOp::prod) return static_cast<T>(product);
    return op == ReduceOp::mean ? static_cast<T>(static_cast<T>(sum) / n_mean) : static_cast<T>(sum);
  } else {
    if (op == ReduceOp::prod) return rounded<T>(counter_tree(values, [](C a, C b) { return a * b; }));
    const C sum = counter_tree(values, [](C a, C b) { return a + b; });
    return rounded<T>(op == ReduceOp::mean ? sum / static_cast<C>(n_mean) : sum);
  }
}

template <class Body>
void for_each_type(Body body) {
  const auto run = [&]<class T>() {
    SCOPED_TRACE(std::string(name(dtype_of<T>::value)));
    body.template operator()<T>();
  };
  run.template operator()<double>();
  run.template operator()<float>();
  run.template operator()<BFloat16>();
  run.template operator()<Float16>();
  run.template operator()<int64_t>();
  run.template operator()<int32_t>();
  run.template operator()<uint8_t>();
}

// body.operator()<T>(op, xs [n][kMostElements])
template <class Body>
void for_grid(Body body) {
  for_each_type([&]<class T>() {
    for (const size_t n : kArrays) {
      const std::vector<Array<T>> xs = random_arrays<T>(n, kMostElements);
      for (const ReduceOp op : kOps) {
        SCOPED_TRACE(std::string(name(op)) + " of " + std::to_string(n));
        body.template operator()<T>(op, xs);
      }
    }
  });
}

template <class T>
std::vector<Array<T>> part(const std::vector<Array<T>>& xs, int64_t begin, int64_t count) {
  std::vector<Array<T>> out;
  for (const Array<T>& x : xs) out.emplace_back(x.begin() + begin, x.begin() + begin + count);
  return out;
}

TEST(Combine, EqualsTheBinaryCounterBitForBit) {
  for_grid([]<class T>(ReduceOp op, const std::vector<Array<T>>& xs) {
    const auto n_mean = static_cast<int64_t>(xs.size());
    Array<T> expected;
    for (size_t i = 0; i < xs[0].size(); ++i) expected.push_back(expected_element(op, xs, i, n_mean));
    for_each_isa([&] {
      for (const int64_t count : kCounts) {
        const Array<T> y = combined(op, part(xs, 0, count), n_mean);
        EXPECT_TRUE(same(y, Array<T>(expected.begin(), expected.begin() + count))) << count;
      }
    });
  });
}

TEST(Combine, MayWriteIntoAnyOfItsArrays) {
  for_grid([]<class T>(ReduceOp op, const std::vector<Array<T>>& xs) {
    const Array<T> expected = combined(op, xs, 3);
    for_each_isa([&] {
      for (size_t k = 0; k < xs.size(); ++k) {
        std::vector<Array<T>> in_place = xs;
        combine(op, dtype_of<T>::value, pointers(in_place), in_place[k].data(), kMostElements, 3);
        EXPECT_TRUE(same(in_place[k], expected)) << k;
      }
    });
  });
}

TEST(Combine, AnElementsPositionDoesNotMatter) {
  for_grid([]<class T>(ReduceOp op, const std::vector<Array<T>>& xs) {
    for_each_isa([&] {
      const Array<T> whole = combined(op, xs, 5);
      for (const int64_t begin : {1, 3, 17, 700}) {
        const int64_t count = kMostElements - begin - 2;
        std::vector<const void*> moved;
        for (const Array<T>& x : xs) moved.push_back(x.data() + begin);
        Array<T> y(static_cast<size_t>(count));
        combine(op, dtype_of<T>::value, moved, y.data(), count, 5);
        EXPECT_TRUE(same(y, Array<T>(whole.begin() + begin, whole.end() - 2))) << begin;
      }
    });
  });
}

TEST(Combine, WritesNothingBehindTheEnd) {
  for_each_type([]<class T>() {
    const std::vector<Array<T>> xs = random_arrays<T>(6, 96);
    const std::vector<const void*> all = pointers(xs);
    for_each_isa([&] {
      for (const size_t n : {size_t{2}, size_t{6}}) {
        for (int64_t count = 0; count <= 70; ++count) {
          Array<T> y = xs[5];
          combine(ReduceOp::sum, dtype_of<T>::value, std::span(all).first(n), y.data(), count);
          for (size_t i = static_cast<size_t>(count); i < y.size(); ++i) {
            ASSERT_EQ(std::memcmp(&y[i], &xs[5][i], sizeof(T)), 0) << count;
          }
        }
      }
    });
  });
}

// Every pair of special numbers, in vectors and in what is left over.
template <class T>
void expect_least_and_greatest_in_any_order() {
  using C = decltype(plain(T{}));
  using Limits = std::numeric_limits<C>;
  const T nan = rounded<T>(Limits::quiet_NaN());
  const Array<T> special = {nan,
                            rounded<T>(-Limits::quiet_NaN()),
                            rounded<T>(std::bit_cast<C>(std::conditional_t<sizeof(C) == 8, uint64_t, uint32_t>(
                                sizeof(C) == 8 ? 0x7ff8000012345678u : 0x7fd54321u))),
                            rounded<T>(C(0)),
                            rounded<T>(-C(0)),
                            rounded<T>(C(1)),
                            rounded<T>(C(-2)),
                            rounded<T>(Limits::infinity()),
                            rounded<T>(-Limits::infinity())};
  std::vector<Array<T>> xs(2);
  Array<T> least, greatest;
  for (const T a : special) {
    for (const T b : special) {
      xs[0].push_back(a);
      xs[1].push_back(b);
      const C u = plain(a), v = plain(b);
      const bool some_nan = std::isnan(u) || std::isnan(v), a_first = u < v || (u == v && std::signbit(u));
      least.push_back(some_nan ? nan : a_first ? a : b);
      greatest.push_back(some_nan ? nan : a_first ? b : a);
    }
  }
  for_each_isa([&] {
    EXPECT_TRUE(same(combined(ReduceOp::min, xs), least));
    EXPECT_TRUE(same(combined(ReduceOp::max, xs), greatest));
    for (size_t i = 0; i < least.size(); ++i) {
      const std::vector<Array<T>> one = part(xs, static_cast<int64_t>(i), 1);
      EXPECT_TRUE(same(combined(ReduceOp::min, one), {least[i]})) << i;
      EXPECT_TRUE(same(combined(ReduceOp::max, one), {greatest[i]})) << i;
    }
  });
}

TEST(Combine, LeastAndGreatestTakeTheQuietNaNAndOrderZeros) {
  expect_least_and_greatest_in_any_order<double>();
  expect_least_and_greatest_in_any_order<float>();
  expect_least_and_greatest_in_any_order<BFloat16>();
  expect_least_and_greatest_in_any_order<Float16>();
}

TEST(Combine, WhatOrderDoesNotMatterForIsTheSameInReverse) {
  for_grid([]<class T>(ReduceOp op, const std::vector<Array<T>>& xs) {
    if (order_matters(op, dtype_of<T>::value)) return;
    for_each_isa([&] {
      EXPECT_TRUE(same(combined(op, xs, 3), combined(op, std::vector<Array<T>>(xs.rbegin(), xs.rend()), 3)));
    });
  });
}

TEST(Combine, OrderMattersForSumsMeansAndProductsOfFloats) {
  for_each_type([]<class T>() {
    for (const ReduceOp op : kOps) {
      const bool arithmetic = op != ReduceOp::min && op != ReduceOp::max;
      EXPECT_EQ(order_matters(op, dtype_of<T>::value), arithmetic && !std::is_integral_v<T>);
    }
  });
}

TEST(Combine, IntegersWrapAroundAndMeansTruncateTowardsZero) {
  for_each_isa([] {
    EXPECT_EQ(combined<uint8_t>(ReduceOp::sum, {{200}, {100}}), Array<uint8_t>{44});
    EXPECT_EQ(combined<uint8_t>(ReduceOp::prod, {{200}, {100}}), Array<uint8_t>{32});
    EXPECT_EQ(combined<uint8_t>(ReduceOp::mean, {{200}, {100}}, 2), Array<uint8_t>{22});
    constexpr int32_t kMost = std::numeric_limits<int32_t>::max(), kLeast = std::numeric_limits<int32_t>::min();
    EXPECT_EQ(combined<int32_t>(ReduceOp::sum, {{kMost}, {1}}), Array<int32_t>{kLeast});
    EXPECT_EQ(combined<int32_t>(ReduceOp::mean, {{-4}, {-3}}, 2), Array<int32_t>{-3});
    EXPECT_EQ(combined<int64_t>(ReduceOp::mean, {{4}, {3}}, 2), Array<int64_t>{3});
    EXPECT_EQ(combined<int64_t>(ReduceOp::mean, {{-4}, {-3}}, 8), Array<int64_t>{0});
  });
}

TEST(Combine, SixteenBitSumsAreRoundedOnce) {
  // 256 + 1 is no bf16 number: rounded at each step the sum would stay 256.
  const BFloat16 big = to_bf16(256), one = to_bf16(1);
  for_each_isa([&] {
    EXPECT_EQ(combined<BFloat16>(ReduceOp::sum, {{big}, {one}, {one}, {one}, {one}})[0].bits, to_bf16(260).bits);
    EXPECT_EQ(combined<BFloat16>(ReduceOp::mean, {{big}, {one}, {one}}, 2)[0].bits, to_bf16(129).bits);
  });
}

TEST(Combine, MeansOfFloatsAreTrueQuotients) {
  // Of subnormal numbers too, where a product with 1 / n could be rounded otherwise.
  const Array<float> sum = {1.0f, 7.0f, -0.0f, 1e-45f, 4e-45f, 3.4e38f, std::numeric_limits<float>::infinity()};
  for_each_isa([&] {
    for (const int64_t n : {1, 2, 3, 5, 8, 10, 1024, 1 << 30}) {
      Array<float> y = sum, expected;
      for (const float s : sum) expected.push_back(s / static_cast<float>(n));
      divide(DType::f32, y.data(), static_cast<int64_t>(y.size()), n);
      EXPECT_TRUE(same(y, expected)) << n;
    }
  });
}

TEST(Combine, DivideFinishesASum) {
  for_each_type([]<class T>() {
    if (sizeof(T) == 2) return;  // rounded twice
    const std::vector<Array<T>> xs = random_arrays<T>(6, 257);
    for_each_isa([&] {
      Array<T> y = combined(ReduceOp::sum, xs);
      divide(dtype_of<T>::value, y.data(), 257, 6);
      EXPECT_TRUE(same(y, combined(ReduceOp::mean, xs, 6)));
    });
  });
}

TEST(Combine, RefusesNoArraysAndNoDivisor) {
  float y = 1;
  const std::array<const void*, 1> one = {&y};
  EXPECT_EQ(error_code_of([&] { combine(ReduceOp::sum, DType::f32, {}, &y, 1); }), ErrorCode::invalid_argument);
  EXPECT_EQ(error_code_of([&] { combine(ReduceOp::mean, DType::f32, one, &y, 1, 0); }), ErrorCode::invalid_argument);
}

TEST(ReduceOp, NamesAreParsedBack) {
  for (const ReduceOp op : kOps) EXPECT_EQ(parse_reduce_op(name(op)), op);
  EXPECT_EQ(error_code_of([] { parse_reduce_op("average"); }), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace gradus::kernels
