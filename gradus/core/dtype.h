// Element types and their conversions. Arithmetic on bf16 and f16 happens in float; these are storage types.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace gradus {

enum class DType : uint8_t { f64, f32, bf16, f16, i64, i32, u8 };

// bfloat16: the upper half of a float.
struct BFloat16 {
  uint16_t bits = 0;
};
// IEEE binary16.
struct Float16 {
  uint16_t bits = 0;
};

// Round to nearest, ties to even; NaN stays a quiet NaN.
constexpr BFloat16 to_bf16(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((u >> 16) | 0x40u)};
  return {static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16)};
}
constexpr float to_float(BFloat16 x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16);
}

Float16 to_f16(float x);  // round to nearest even, overflow to infinity
float to_float(Float16 x);

std::size_t size_of(DType dtype);  // bytes of one element

std::string_view name(DType dtype);              // "f32", ...
std::string_view safetensors_name(DType dtype);  // "F32", ...
bool is_floating(DType dtype);

// A binary floating-point format: one sign bit, exponent bits, fraction bits; the largest exponent is kept for infinity
// and NaN, the least for subnormals (IEEE 754; bf16 follows it with a shorter fraction).
struct FloatFormat {
  int exponent_bits = 0, fraction_bits = 0;

  int max_exponent() const { return (1 << (exponent_bits - 1)) - 1; }
  double largest() const;          // finite
  double least_normal() const;     // positive
  double least_subnormal() const;  // positive
  double epsilon() const;          // from 1 to the next number
};
FloatFormat float_format(DType dtype);  // throws invalid_argument unless is_floating

template <class T>
struct dtype_of;
template <>
struct dtype_of<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct dtype_of<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct dtype_of<BFloat16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct dtype_of<Float16> {
  static constexpr DType value = DType::f16;
};
template <>
struct dtype_of<int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct dtype_of<int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct dtype_of<uint8_t> {
  static constexpr DType value = DType::u8;
};

}  // namespace gradus
