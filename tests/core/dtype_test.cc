#include "gradus/core/dtype.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "tests/core/expect_error.h"

namespace gradus {
namespace {

// A binary floating-point format, for the oracle.
struct Format {
  int fraction_bits;
  int min_exponent;  // of the smallest normal number
  double largest;
};
constexpr Format kBf16{7, -126, 0x1.FEp127};
constexpr Format kF16{10, -14, 65504.0};

// x rounded to the format, to nearest, ties to even. All steps are exact in double, nearbyint does the rounding.
double round_to(const Format& f, double x) {
  if (x == 0 || !std::isfinite(x)) return x;
  const double quantum = std::ldexp(1.0, std::max(std::ilogb(x), f.min_exponent) - f.fraction_bits);
  const double rounded = std::nearbyint(x / quantum) * quantum;
  return std::fabs(rounded) > f.largest ? std::copysign(std::numeric_limits<double>::infinity(), x) : rounded;
}

template <class Narrow>
void expect_rounds(const Format& f, float x, Narrow (*narrow)(float)) {
  const float got = to_float(narrow(x));
  if (std::isnan(x)) {
    ASSERT_TRUE(std::isnan(got)) << std::hexfloat << x;
    return;
  }
  const double want = round_to(f, x);
  ASSERT_EQ(static_cast<double>(got), want) << std::hexfloat << x;
  ASSERT_EQ(std::signbit(got), std::signbit(x)) << std::hexfloat << x;
}

// Every upper half of a float with lower halves around each place where rounding may turn.
template <class Narrow>
void expect_rounds_on_grid(const Format& f, Narrow (*narrow)(float)) {
  constexpr uint32_t kLow[] = {0x0000, 0x0001, 0x0FFF, 0x1000, 0x1001, 0x1FFF, 0x2FFF, 0x3000, 0x5000, 0x7000,
                               0x7FFF, 0x8000, 0x8001, 0x9000, 0xB000, 0xD000, 0xEFFF, 0xF000, 0xFFFF};
  for (uint32_t high = 0; high < 0x10000; ++high) {
    for (uint32_t low : kLow) {
      expect_rounds(f, std::bit_cast<float>(high << 16 | low), narrow);
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
}

// Each pair of neighbours in the narrow format: the middle between them and the floats beside it. With monotonicity
// this decides all.
template <class Narrow>
void expect_rounds_between_neighbours(const Format& f, Narrow (*narrow)(float)) {
  for (uint32_t bits = 0; bits < 0x7FFF; ++bits) {
    const float a = to_float(Narrow{static_cast<uint16_t>(bits)});
    const float b = to_float(Narrow{static_cast<uint16_t>(bits + 1)});
    if (!std::isfinite(a) || !std::isfinite(b)) continue;
    const auto middle = static_cast<float>((static_cast<double>(a) + b) / 2);
    for (float x : {std::nextafterf(middle, a), middle, std::nextafterf(middle, b)}) {
      expect_rounds(f, x, narrow);
      expect_rounds(f, -x, narrow);
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(BFloat16, RoundsToNearestEven) {
  expect_rounds_on_grid<BFloat16>(kBf16, to_bf16);
  expect_rounds_between_neighbours<BFloat16>(kBf16, to_bf16);
}

TEST(Float16, RoundsToNearestEven) {
  expect_rounds_on_grid<Float16>(kF16, to_f16);
  expect_rounds_between_neighbours<Float16>(kF16, to_f16);
}

template <class Narrow>
void expect_survives_widening(Narrow (*narrow)(float)) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const Narrow x{static_cast<uint16_t>(bits)};
    const float wide = to_float(x);
    if (std::isnan(wide)) {
      ASSERT_TRUE(std::isnan(to_float(narrow(wide))));
    } else {
      ASSERT_EQ(narrow(wide).bits, x.bits);
    }
  }
}

TEST(BFloat16, EveryValueSurvivesFloat) {
  expect_survives_widening<BFloat16>(to_bf16);
}
TEST(Float16, EveryValueSurvivesFloat) {
  expect_survives_widening<Float16>(to_f16);
}

TEST(Float16, WideningFollowsTheFormat) {
  for (uint32_t bits = 0; bits < 0x7C00; ++bits) {
    const int exponent = static_cast<int>(bits >> 10);
    const double fraction = bits & 0x3FF;
    const double want = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    ASSERT_EQ(static_cast<double>(to_float(Float16{static_cast<uint16_t>(bits)})), want);
    ASSERT_EQ(static_cast<double>(to_float(Float16{static_cast<uint16_t>(bits | 0x8000)})), -want);
  }
  EXPECT_EQ(to_float(Float16{0x7C00}), std::numeric_limits<float>::infinity());
  EXPECT_EQ(to_float(Float16{0xFC00}), -std::numeric_limits<float>::infinity());
}

TEST(DType, FormatsAreThoseOfTheTypes) {
  using Double = std::numeric_limits<double>;
  using Float = std::numeric_limits<float>;
  const FloatFormat f64 = float_format(DType::f64), f32 = float_format(DType::f32);
  EXPECT_EQ(f64.largest(), Double::max());
  EXPECT_EQ(f64.least_normal(), Double::min());
  EXPECT_EQ(f64.least_subnormal(), Double::denorm_min());
  EXPECT_EQ(f64.epsilon(), Double::epsilon());
  EXPECT_EQ(f32.largest(), Float::max());
  EXPECT_EQ(f32.least_normal(), Float::min());
  EXPECT_EQ(f32.least_subnormal(), Float::denorm_min());
  EXPECT_EQ(f32.epsilon(), Float::epsilon());
  const auto value = [](auto narrow) { return static_cast<double>(to_float(narrow)); };
  const FloatFormat bf16 = float_format(DType::bf16), f16 = float_format(DType::f16);
  EXPECT_EQ(bf16.largest(), value(BFloat16{0x7f7f}));
  EXPECT_EQ(bf16.least_normal(), value(BFloat16{0x0080}));
  EXPECT_EQ(bf16.least_subnormal(), value(BFloat16{0x0001}));
  EXPECT_EQ(bf16.epsilon(), value(BFloat16{0x3f81}) - 1);
  EXPECT_EQ(f16.largest(), value(Float16{0x7bff}));
  EXPECT_EQ(f16.least_normal(), value(Float16{0x0400}));
  EXPECT_EQ(f16.least_subnormal(), value(Float16{0x0001}));
  EXPECT_EQ(f16.epsilon(), value(Float16{0x3c01}) - 1);
  EXPECT_GRADUS_ERROR(float_format(DType::i32), invalid_argument, "i32 is no floating-point type");
}

TEST(DType, SizesAndNamesAgreeWithTheTypes) {
  EXPECT_EQ(size_of(dtype_of<double>::value), sizeof(double));
  EXPECT_EQ(size_of(dtype_of<float>::value), sizeof(float));
  EXPECT_EQ(size_of(dtype_of<BFloat16>::value), sizeof(BFloat16));
  EXPECT_EQ(size_of(dtype_of<Float16>::value), sizeof(Float16));
  EXPECT_EQ(size_of(dtype_of<int64_t>::value), sizeof(int64_t));
  EXPECT_EQ(size_of(dtype_of<int32_t>::value), sizeof(int32_t));
  EXPECT_EQ(size_of(dtype_of<uint8_t>::value), sizeof(uint8_t));
  EXPECT_EQ(name(DType::bf16), "bf16");
  EXPECT_EQ(safetensors_name(DType::bf16), "BF16");
  EXPECT_EQ(name(DType::u8), "u8");
  EXPECT_TRUE(is_floating(DType::f64) && is_floating(DType::f16));
  EXPECT_FALSE(is_floating(DType::i64) || is_floating(DType::u8));
}

}  // namespace
}  // namespace gradus
