#include "gradus/kernels/convert.h"

#include <bit>
#include <cmath>
#include <numeric>

#include "gradus/kernels/cpu/convert.h"
#include "tests/kernels/grid.h"

namespace gradus::kernels {
namespace {

template <class T>
std::vector<T> all_patterns() {
  std::vector<T> out(65536);
  for (size_t i = 0; i < out.size(); ++i) out[i].bits = static_cast<uint16_t>(i);
  return out;
}

template <class T>
void expect_every_pattern_widens() {
  const std::vector<T> x = all_patterns<T>();
  std::vector<float> y(x.size());
  cpu::widen(x.data(), static_cast<int64_t>(x.size()), y.data());
  for (size_t i = 0; i < x.size(); ++i) {
    const float want = to_float(x[i]);
    if (std::isnan(want)) {
      ASSERT_TRUE(std::isnan(y[i])) << i;
    } else {
      ASSERT_EQ(std::bit_cast<uint32_t>(y[i]), std::bit_cast<uint32_t>(want)) << i;
    }
  }
}

TEST(Convert, EveryPatternOf16BitsWidensExactlyOnEveryInstructionSet) {
  for_each_isa([] {
    expect_every_pattern_widens<BFloat16>();
    expect_every_pattern_widens<Float16>();
  });
}

// Around every 16-bit number: itself, the middle to its neighbour and the floats beside both.
template <class T, class Narrow>
void expect_narrows(Narrow narrow) {
  std::vector<float> x;
  for (const T pattern : all_patterns<T>()) {
    const float at = to_float(pattern);
    const float next = to_float(T{static_cast<uint16_t>(pattern.bits + 1)});
    const float middle = std::midpoint(at, next);
    for (const float v : {at, middle}) {
      x.insert(x.end(), {v, std::nextafterf(v, INFINITY), std::nextafterf(v, -INFINITY)});
    }
  }
  std::vector<T> y(x.size());
  cpu::narrow(x.data(), static_cast<int64_t>(x.size()), y.data());
  for (size_t i = 0; i < x.size(); ++i) {
    if (std::isnan(x[i])) {
      ASSERT_TRUE(std::isnan(to_float(y[i]))) << i;
    } else {
      ASSERT_EQ(y[i].bits, narrow(x[i]).bits) << std::hexfloat << x[i];
    }
  }
}

TEST(Convert, NarrowingRoundsToNearestEvenOnEveryInstructionSet) {
  for_each_isa([] {
    expect_narrows<BFloat16>(to_bf16);
    expect_narrows<Float16>(to_f16);
  });
}

TEST(Convert, TensorsOfEverySizeAndPairOfFormats) {
  for (const int64_t n : kSizes) {
    const Tensor x = random_tensor({n}, DType::f32, 3);
    for (const DType narrow : {DType::bf16, DType::f16}) {
      const Tensor y = converted(x, narrow), back = converted(y, DType::f32), wide = converted(y, DType::f64);
      for (int64_t i = 0; i < n; ++i) {
        const float want =
            narrow == DType::bf16 ? to_float(to_bf16(x.data<float>()[i])) : to_float(to_f16(x.data<float>()[i]));
        EXPECT_EQ(back.data<float>()[i], want);
        EXPECT_EQ(wide.data<double>()[i], want);
      }
      EXPECT_TRUE(same_bits(converted(wide, narrow), y));
    }
  }
}

TEST(Convert, RefusesOtherShapesAndIntegers) {
  Tensor x = Tensor::zeros({4}), y = Tensor::zeros({5}, DType::bf16), n = Tensor::zeros({4}, DType::i32);
  EXPECT_EQ(error_code_of([&] { convert(x, y); }), ErrorCode::invalid_argument);
  EXPECT_EQ(error_code_of([&] { convert(x, n); }), ErrorCode::unsupported);
}

}  // namespace
}  // namespace gradus::kernels
