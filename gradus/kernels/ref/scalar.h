// Scalar building blocks that the references and the vector kernels agree on, bit for bit.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "gradus/kernels/isa.h"

namespace gradus::kernels::ref {

// a * b + c, rounded as the active instruction set rounds it (isa.h).
struct MultiplyAdd {
  bool fused = fused_multiply_add();
  template <class T>
  T operator()(T a, T b, T c) const {
    return fused ? std::fma(a, b, c) : a * b + c;
  }
};

// Constants of the float exponential: e^x = 2^n * e^r, n = round(x / ln 2), r = x - n ln 2 in two parts (Cody & Waite),
// e^r = 1 + r + r^2 (1/2 + r (1/6 + ...)) to degree 7 (Taylor; |r| <= ln2 / 2, relative error below 1e-8 before
// rounding).
struct ExpConstants {
  static constexpr float kLog2E = 0x1.715476p+0f;
  static constexpr float kLn2High = 0x1.62e400p-1f;
  static constexpr float kLn2Low = 0x1.7f7d1cp-20f;
  static constexpr float kSmallest = -0x1.5d58a0p+6f;  // below -87.3365 the result is 0: no subnormals come out
  static constexpr float kLargest = 0x1.62e42ep+6f;    // above 88.7228 the result is +inf
  static constexpr float kTaylor[6] = {0.5f,           0x1.555556p-3f,  0x1.555556p-5f,
                                       0x1.111112p-7f, 0x1.6c16c2p-10f, 0x1.a01a02p-13f};
};

// e^x. exp(0) is exactly 1, exp(-inf) exactly 0, NaN stays NaN.
inline float exp(float x, MultiplyAdd mul_add = {}) {
  using C = ExpConstants;
  if (x < C::kSmallest) return 0.0f;
  if (x > C::kLargest) return std::numeric_limits<float>::infinity();
  if (x != x) return x;
  const float n = std::nearbyint(x * C::kLog2E);
  const float r = mul_add(n, -C::kLn2Low, mul_add(n, -C::kLn2High, x));
  float p = C::kTaylor[5];
  for (int i = 4; i >= 0; --i) p = mul_add(p, r, C::kTaylor[i]);
  p = mul_add(mul_add(p, r, 1.0f), r, 1.0f);  // 1 + r (1 + r (1/2 + ...))
  // n is in [-126, 128]: scale in two steps so that neither factor overflows.
  const auto scale = [](int e) { return std::bit_cast<float>(static_cast<uint32_t>(e + 127) << 23); };
  const int whole = static_cast<int>(n), half = whole >> 1;
  return p * scale(half) * scale(whole - half);
}
inline double exp(double x, MultiplyAdd = {}) {
  return std::exp(x);
}

// Constants of the exponential of bf16 attention, whose weights are rounded to 8 bits: 2^x = 2^n 2^f, n = round(x), and
// 2^f = 1 + f (c_1 + f (c_2 + f (c_3 + f c_4))) for |f| <= 1/2, of least relative error (below 3.6e-6) with 2^0 = 1.
struct Exp2Constants {
  static constexpr double kLog2E = 0x1.71547652b82fep+0;
  static constexpr float kLn2 = 0x1.62e430p-1f;
  static constexpr float kSmallest = -126.0f;    // below it the result is 2^-126, the least normal float
  static constexpr float kRounder = 0x1.8p+23f;  // x + kRounder - kRounder = round(x), ties to even
  static constexpr float kPolynomial[4] = {0x1.62dfcap-1f, 0x1.ebf1b4p-3f, 0x1.ca9008p-5f, 0x1.409104p-7f};
};

// 2^x for x < 127. exp2(0) is exactly 1, NaN stays NaN (but for payloads that no bf16 has).
inline float exp2(float x, MultiplyAdd mul_add = {}) {
  using C = Exp2Constants;
  if (x < C::kSmallest) x = C::kSmallest;
  const float shifted = x + C::kRounder;  // n in its lowest bits
  const float f = x - (shifted - C::kRounder);
  float p = C::kPolynomial[3];
  for (int i = 2; i >= 0; --i) p = mul_add(p, f, C::kPolynomial[i]);
  p = mul_add(p, f, 1.0f);
  return std::bit_cast<float>(std::bit_cast<uint32_t>(p) + (std::bit_cast<uint32_t>(shifted) << 23));
}

// Constants of the float hyperbolic tangent: tanh x = x P(x^2) / Q(x^2), of least relative error (2.2e-8) up to x = 9,
// where a float cannot tell it from 1.
struct TanhConstants {
  static constexpr float kLargest = 9.0f;
  static constexpr float kP[5] = {1.0f, 0x1.11f9e8p-3f, 0x1.c9a9b2p-9f, 0x1.58afb0p-16f, 0x1.c7cd2ap-27f};
  static constexpr float kQ[5] = {1.0f, 0x1.de523ep-2f, 0x1.a7b9bep-6f, 0x1.57daf4p-12f, 0x1.9f8b96p-21f};
};

// tanh x within 7 units in the last place, never beyond +-1; odd, tanh(-0) is -0, NaN stays NaN.
inline float tanh(float x, MultiplyAdd mul_add = {}) {
  using C = TanhConstants;
  if (x != x) return x;
  const float a = std::min(C::kLargest, std::abs(x)), z = a * a;
  float p = C::kP[4], q = C::kQ[4];
  for (int i = 3; i >= 0; --i) p = mul_add(p, z, C::kP[i]);
  for (int i = 3; i >= 0; --i) q = mul_add(q, z, C::kQ[i]);
  return std::copysign(std::min(1.0f, a * p / q), x);
}
inline double tanh(double x, MultiplyAdd = {}) {
  return std::tanh(x);
}

// Sum of f(i) over i in [0, n) in the order of the vector kernels: 16 lanes, lane l adds i = l, l + 16, ... ascending
// by `step(lane, i)`; then lanes are added in a tree: l += l + 8, l + 4, l + 2, l + 1.
template <class T, class Step>
T sum_16_lanes(int64_t n, Step step) {
  T lane[16] = {};
  for (int64_t i = 0; i < n; ++i) lane[i % 16] = step(lane[i % 16], i);
  for (int width = 8; width >= 1; width /= 2) {
    for (int l = 0; l < width; ++l) lane[l] += lane[l + width];
  }
  return lane[0];
}

}  // namespace gradus::kernels::ref
