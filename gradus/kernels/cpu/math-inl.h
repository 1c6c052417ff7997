// Vector forms of gradus/kernels/ref/scalar.h, one text for every instruction set (Highway). Included once per target.
#if defined(GRADUS_KERNELS_CPU_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GRADUS_KERNELS_CPU_MATH_INL_H_
#undef GRADUS_KERNELS_CPU_MATH_INL_H_
#else
#define GRADUS_KERNELS_CPU_MATH_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <limits>

#include "gradus/kernels/ref/scalar.h"

HWY_BEFORE_NAMESPACE();
namespace gradus::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// n = round(x / ln 2) and p = e^(x - n ln 2), in each lane.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExpReduced(D d, V x, V& n) {
  using C = ref::ExpConstants;
  n = hn::Round(hn::Mul(x, hn::Set(d, C::kLog2E)));
  const V r = hn::MulAdd(n, hn::Set(d, -C::kLn2Low), hn::MulAdd(n, hn::Set(d, -C::kLn2High), x));
  V p = hn::Set(d, C::kTaylor[5]);
  for (int i = 4; i >= 0; --i) p = hn::MulAdd(p, r, hn::Set(d, C::kTaylor[i]));
  const V one = hn::Set(d, 1.0f);
  return hn::MulAdd(hn::MulAdd(p, r, one), r, one);
}

// 2^e for the biased exponents that a float has.
template <class D, class VI>
HWY_INLINE hn::Vec<D> PowerOf2(D d, VI e) {
  const hn::RebindToSigned<D> di;
  return hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(e, hn::Set(di, 127))));
}

// e^x in each lane; the same operations in the same order as ref::exp(float), so the same bits. NaN comes out of the
// arithmetic by itself; lanes outside the range compute something meaningless, which the selects replace.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Exp(D d, V x) {
  using C = ref::ExpConstants;
  V n;
  const V p = ExpReduced(d, x, n);
  const auto whole = hn::ConvertTo(hn::RebindToSigned<D>(), n);
  const auto half = hn::ShiftRight<1>(whole);
  V y = hn::Mul(hn::Mul(p, PowerOf2(d, half)), PowerOf2(d, hn::Sub(whole, half)));
  y = hn::IfThenElse(hn::Lt(x, hn::Set(d, C::kSmallest)), hn::Zero(d), y);
  return hn::IfThenElse(hn::Gt(x, hn::Set(d, C::kLargest)), hn::Set(d, std::numeric_limits<float>::infinity()), y);
}

// Exp for x <= 88, where 2^n is a float: the same bits for less work. Softmax only needs x <= 0.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExpUpTo88(D d, V x) {
  V n;
  const V p = ExpReduced(d, x, n);
  const V y = hn::Mul(p, PowerOf2(d, hn::ConvertTo(hn::RebindToSigned<D>(), n)));
  return hn::IfThenElse(hn::Lt(x, hn::Set(d, ref::ExpConstants::kSmallest)), hn::Zero(d), y);
}

// 2^x in each lane: the bits of ref::exp2(float).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Exp2(D d, V x) {
  using C = ref::Exp2Constants;
  const hn::RebindToUnsigned<D> du;
  x = hn::Max(hn::Set(d, C::kSmallest), x);  // in this order NaN stays
  const V shifted = hn::Add(x, hn::Set(d, C::kRounder));
  const V f = hn::Sub(x, hn::Sub(shifted, hn::Set(d, C::kRounder)));
  V p = hn::Set(d, C::kPolynomial[3]);
  for (int i = 2; i >= 0; --i) p = hn::MulAdd(p, f, hn::Set(d, C::kPolynomial[i]));
  p = hn::MulAdd(p, f, hn::Set(d, 1.0f));
  return hn::BitCast(d, hn::Add(hn::BitCast(du, p), hn::ShiftLeft<23>(hn::BitCast(du, shifted))));
}

// tanh x in each lane: the bits of ref::tanh(float).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Tanh(D d, V x) {
  using C = ref::TanhConstants;
  const V a = hn::Min(hn::Set(d, C::kLargest), hn::Abs(x));  // in this order NaN stays
  const V z = hn::Mul(a, a);
  V p = hn::Set(d, C::kP[4]), q = hn::Set(d, C::kQ[4]);
  for (int i = 3; i >= 0; --i) {
    p = hn::MulAdd(p, z, hn::Set(d, C::kP[i]));
    q = hn::MulAdd(q, z, hn::Set(d, C::kQ[i]));
  }
  return hn::CopySign(hn::Min(hn::Set(d, 1.0f), hn::Div(hn::Mul(a, p), q)), x);
}

// Sixteen float lanes as 16 / Lanes(d) vectors, so that a row's sum has one order on every instruction set.
// Sum() adds lanes in the tree of ref::sum_16_lanes.
struct Lanes16 {
  using D = hn::CappedTag<float, 16>;
  using V = hn::Vec<D>;
  static constexpr size_t kVectors = 16 / hn::MaxLanes(D());
  V v[kVectors];

  static HWY_INLINE Lanes16 Zero() {
    Lanes16 out;
    for (size_t i = 0; i < kVectors; ++i) out.v[i] = hn::Zero(D());
    return out;
  }
  HWY_INLINE void Store(float* to) const {
    for (size_t i = 0; i < kVectors; ++i) hn::Store(v[i], D(), to + i * hn::MaxLanes(D()));
  }
  static HWY_INLINE Lanes16 Load(const float* from) {
    Lanes16 out;
    for (size_t i = 0; i < kVectors; ++i) out.v[i] = hn::Load(D(), from + i * hn::MaxLanes(D()));
    return out;
  }
  HWY_INLINE float Sum() const {
    auto x = AddDownTo4(v);
    x = hn::Add(x, hn::Shuffle1032(x));                  // l += l + 2
    return hn::GetLane(hn::Add(x, hn::Shuffle2301(x)));  // l += l + 1
  }

 private:
  // l += l + 8, l += l + 4. Templates, so that only the form of this target's vectors is compiled.
  using D4 = hn::FixedTag<float, 4>;
  template <class Vector>
  static HWY_INLINE hn::Vec<D4> Halve(Vector y) {
    return hn::Add(hn::LowerHalf(D4(), y), hn::UpperHalf(D4(), y));
  }
  template <class Vector>
  static HWY_INLINE hn::Vec<D4> AddDownTo4(const Vector (&x)[1]) {
    const hn::Half<hn::DFromV<Vector>> d8;
    return Halve(hn::Add(hn::LowerHalf(d8, x[0]), hn::UpperHalf(d8, x[0])));
  }
  template <class Vector>
  static HWY_INLINE hn::Vec<D4> AddDownTo4(const Vector (&x)[2]) {
    return Halve(hn::Add(x[0], x[1]));
  }
  template <class Vector>
  static HWY_INLINE hn::Vec<D4> AddDownTo4(const Vector (&x)[4]) {
    return hn::Add(hn::Add(x[0], x[2]), hn::Add(x[1], x[3]));
  }
};

struct SumOf {
  template <class V>
  static HWY_INLINE V Of(V a, V b) {
    return hn::Add(a, b);
  }
  static HWY_INLINE float OfLanes(const Lanes16& x) { return x.Sum(); }
};
struct MaxOf {
  template <class V>
  static HWY_INLINE V Of(V a, V b) {
    return hn::Max(a, b);
  }
  static HWY_INLINE float OfLanes(const Lanes16& x) {
    auto largest = x.v[0];
    for (size_t i = 1; i < Lanes16::kVectors; ++i) largest = hn::Max(largest, x.v[i]);
    return hn::GetLane(hn::MaxOfLanes(Lanes16::D(), largest));
  }
};

#if HWY_TARGET <= HWY_AVX3
// Of two vectors whose rows take 2 * kWidth lanes each: one whose rows take kWidth, lane l and l + kWidth joined. Rows
// of b stand behind, or between, those of a: ReduceRows knows.
template <class Op, int kWidth>
HWY_INLINE Lanes16::V JoinLanes(Lanes16::V a, Lanes16::V b) {
  const Lanes16::D d;
  if constexpr (kWidth == 8) {
    return Op::Of(hn::ConcatLowerLower(d, b, a), hn::ConcatUpperUpper(d, b, a));
  } else if constexpr (kWidth == 4) {
    return Op::Of(hn::OddEvenBlocks(b, a), hn::SwapAdjacentBlocks(hn::OddEvenBlocks(a, b)));
  } else if constexpr (kWidth == 2) {
    const hn::RepartitionToWide<decltype(d)> d64;
    const auto a64 = hn::BitCast(d64, a), b64 = hn::BitCast(d64, b);
    return Op::Of(hn::BitCast(d, hn::InterleaveLower(d64, a64, b64)),
                  hn::BitCast(d, hn::InterleaveUpper(d64, a64, b64)));
  } else {
    return Op::Of(hn::OddEven(b, a), hn::Shuffle2301(hn::OddEven(a, b)));
  }
}
#endif

// to[i] = the tree (l + 8, l + 4, l + 2, l + 1) over the 16 lanes of row i of [16, 16], for i < n; what follows is
// undefined.
template <class Op>
HWY_INLINE void ReduceRows(int64_t n, const float* HWY_RESTRICT lanes, float* HWY_RESTRICT to) {
#if HWY_TARGET <= HWY_AVX3
  static_cast<void>(n);
  const Lanes16::D d;
  const auto row = [&](int i) HWY_ATTR { return hn::Load(d, lanes + 16 * i); };
  // Rows enter in bit-reversed order, so that they come out ascending.
  const auto eight = [&](int i) HWY_ATTR { return JoinLanes<Op, 8>(row(i), row(i + 8)); };
  const auto four = [&](int i) HWY_ATTR { return JoinLanes<Op, 4>(eight(i), eight(i + 4)); };
  const auto two = [&](int i) HWY_ATTR { return JoinLanes<Op, 2>(four(i), four(i + 2)); };
  hn::StoreU(JoinLanes<Op, 1>(two(0), two(1)), d, to);
#else
  for (int64_t i = 0; i < n; ++i) to[i] = Op::OfLanes(Lanes16::Load(lanes + 16 * i));
#endif
}

}  // namespace gradus::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
