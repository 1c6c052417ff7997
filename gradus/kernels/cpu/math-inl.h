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

}  // namespace gradus::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
