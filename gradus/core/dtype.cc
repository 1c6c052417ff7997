#include "gradus/core/dtype.h"

#include <cmath>

#include "gradus/core/error.h"

namespace gradus {

std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
    case DType::f16:
      return 2;
    case DType::u8:
      return 1;
  }
  return 0;
}

std::string_view name(DType dtype) {
  constexpr std::string_view kNames[] = {"f64", "f32", "bf16", "f16", "i64", "i32", "u8"};
  return kNames[static_cast<int>(dtype)];
}

std::string_view safetensors_name(DType dtype) {
  constexpr std::string_view kNames[] = {"F64", "F32", "BF16", "F16", "I64", "I32", "U8"};
  return kNames[static_cast<int>(dtype)];
}

bool is_floating(DType dtype) {
  return dtype <= DType::f16;
}

FloatFormat float_format(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return {.exponent_bits = 11, .fraction_bits = 52};
    case DType::f32:
      return {.exponent_bits = 8, .fraction_bits = 23};
    case DType::bf16:
      return {.exponent_bits = 8, .fraction_bits = 7};
    case DType::f16:
      return {.exponent_bits = 5, .fraction_bits = 10};
    default:
      fail(ErrorCode::invalid_argument, "float_format: {} is no floating-point type", name(dtype));
  }
}

double FloatFormat::largest() const {
  return std::ldexp(2 - epsilon(), max_exponent());
}
double FloatFormat::least_normal() const {
  return std::ldexp(1.0, 1 - max_exponent());
}
double FloatFormat::least_subnormal() const {
  return std::ldexp(least_normal(), -fraction_bits);
}
double FloatFormat::epsilon() const {
  return std::ldexp(1.0, -fraction_bits);
}

Float16 to_f16(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x);
  const uint16_t sign = static_cast<uint16_t>((u >> 16) & 0x8000u);
  const uint32_t a = u & 0x7fffffffu;
  if (a > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7e00u)};   // NaN
  if (a >= 0x477ff000u) return {static_cast<uint16_t>(sign | 0x7c00u)};  // rounds to 65536 or more
  if (a < 0x38800000u) {  // subnormal in binary16: let a float addition do the rounding at 2^-24
    const float shifted = std::bit_cast<float>(a) + 0.5f;
    return {static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u))};
  }
  const uint32_t rounded = a + 0xfffu + ((a >> 13) & 1u);
  return {static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}

float to_float(Float16 x) {
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000u) << 16;
  const uint32_t a = x.bits & 0x7fffu;
  if (a >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | ((a & 0x3ffu) << 13));
  if (a >= 0x0400u) return std::bit_cast<float>(sign | ((a << 13) + 0x38000000u));
  const float magnitude = static_cast<float>(a) * 0x1p-24f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

}  // namespace gradus
