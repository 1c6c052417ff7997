// 16-bit floats in vectors: what is loaded becomes float, what is stored is rounded to nearest, ties to even. And the
// product of bf16 pairs, the step that bf16 matrix products and attention are made of. Included once per target.
#if defined(GRADUS_KERNELS_CPU_HALF_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GRADUS_KERNELS_CPU_HALF_INL_H_
#undef GRADUS_KERNELS_CPU_HALF_INL_H_
#else
#define GRADUS_KERNELS_CPU_HALF_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

#include "gradus/core/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace gradus::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Whether pairs of bf16 numbers are multiplied by one instruction.
inline constexpr bool kNativePairs = HWY_TARGET == HWY_AVX3_DL;

// As many 16-bit numbers as `d` has floats.
template <class D>
using Bits16 = hn::Rebind<uint16_t, D>;

template <class D>
HWY_INLINE hn::Vec<D> Bf16ToFloat(D d, hn::Vec<Bits16<D>> bits) {
  const hn::RebindToUnsigned<D> du;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, bits)));
}
// The bits of to_bf16 in the upper half of each lane.
template <class D>
HWY_INLINE hn::VFromD<hn::RebindToUnsigned<D>> RoundToBf16(D d, hn::Vec<D> x) {
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::BitCast(du, x);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fffu)));
  const auto quiet = hn::Or(bits, hn::Set(du, 0x400000u));
  return hn::IfThenElse(hn::MaskFromVec(hn::BitCast(du, hn::VecFromMask(d, hn::IsNaN(x)))), quiet, rounded);
}
template <class D>
HWY_INLINE hn::Vec<Bits16<D>> FloatToBf16(D d, hn::Vec<D> x) {
  const hn::RebindToSigned<D> di;
  return hn::DemoteTo(Bits16<D>(), hn::BitCast(di, hn::ShiftRight<16>(RoundToBf16(d, x))));
}

// float16 by the conversion instructions where the target has them (F16C), else by the integer steps of to_f16.
template <class D>
HWY_INLINE hn::Vec<D> F16ToFloat(D d, hn::Vec<Bits16<D>> bits) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
  return hn::PromoteTo(d, hn::BitCast(hn::Rebind<hwy::float16_t, D>(), bits));
#else
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  const auto u = hn::PromoteTo(du, bits);
  const auto magnitude = hn::And(u, hn::Set(du, 0x7fffu)), sign = hn::ShiftLeft<16>(hn::Xor(u, magnitude));
  const auto normal = hn::Add(hn::ShiftLeft<13>(magnitude), hn::Set(du, 0x38000000u));
  const auto special = hn::Or(hn::ShiftLeft<13>(magnitude), hn::Set(du, 0x7f800000u));
  const auto subnormal = hn::BitCast(du, hn::Mul(hn::ConvertTo(d, hn::BitCast(di, magnitude)), hn::Set(d, 0x1p-24f)));
  auto out = hn::IfThenElse(hn::Lt(magnitude, hn::Set(du, 0x400u)), subnormal, normal);
  out = hn::IfThenElse(hn::Gt(magnitude, hn::Set(du, 0x7bffu)), special, out);
  return hn::BitCast(d, hn::Or(out, sign));
#endif
}
template <class D>
HWY_INLINE hn::Vec<Bits16<D>> FloatToF16(D d, hn::Vec<D> x) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
  return hn::BitCast(Bits16<D>(), hn::DemoteTo(hn::Rebind<hwy::float16_t, D>(), x));
#else
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  const auto bits = hn::BitCast(du, x);
  const auto a = hn::And(bits, hn::Set(du, 0x7fffffffu)), sign = hn::ShiftRight<16>(hn::Xor(bits, a));
  const auto odd = hn::And(hn::ShiftRight<13>(a), hn::Set(du, 1u));
  const auto normal =
      hn::ShiftRight<13>(hn::Sub(hn::Add(a, hn::Add(odd, hn::Set(du, 0xfffu))), hn::Set(du, 0x38000000u)));
  const auto subnormal =
      hn::Sub(hn::BitCast(du, hn::Add(hn::BitCast(d, a), hn::Set(d, 0.5f))), hn::Set(du, 0x3f000000u));
  auto out = hn::IfThenElse(hn::Lt(a, hn::Set(du, 0x38800000u)), subnormal, normal);
  out = hn::IfThenElse(hn::Gt(a, hn::Set(du, 0x477fefffu)), hn::Set(du, 0x7c00u), out);
  out = hn::IfThenElse(hn::Gt(a, hn::Set(du, 0x7f800000u)), hn::Set(du, 0x7e00u), out);
  return hn::DemoteTo(Bits16<D>(), hn::BitCast(di, hn::Or(out, sign)));
#endif
}

template <class D>
HWY_INLINE hn::Vec<D> LoadFloats(D d, const float* p) {
  return hn::LoadU(d, p);
}
template <class D>
HWY_INLINE hn::Vec<D> LoadFloats(D d, const BFloat16* p) {
  return Bf16ToFloat(d, hn::LoadU(Bits16<D>(), reinterpret_cast<const uint16_t*>(p)));
}
template <class D>
HWY_INLINE hn::Vec<D> LoadFloats(D d, const Float16* p) {
  return F16ToFloat(d, hn::LoadU(Bits16<D>(), reinterpret_cast<const uint16_t*>(p)));
}
template <class D>
HWY_INLINE void StoreFloats(D d, hn::Vec<D> x, float* p) {
  hn::StoreU(x, d, p);
}
template <class D>
HWY_INLINE void StoreFloats(D d, hn::Vec<D> x, BFloat16* p) {
  hn::StoreU(FloatToBf16(d, x), Bits16<D>(), reinterpret_cast<uint16_t*>(p));
}
template <class D>
HWY_INLINE void StoreFloats(D d, hn::Vec<D> x, Float16* p) {
  hn::StoreU(FloatToF16(d, x), Bits16<D>(), reinterpret_cast<uint16_t*>(p));
}

// A lane of 32 bits holds a pair of bf16 numbers, the even one (k = 0, 2, ...) in its lower half.
template <class D>
HWY_INLINE hn::Vec<D> EvenOfPairs(D d, hn::Vec<D> pairs) {
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::BitCast(hn::RebindToUnsigned<D>(), pairs)));
}
template <class D>
HWY_INLINE hn::Vec<D> OddOfPairs(D d, hn::Vec<D> pairs) {
  const hn::RebindToUnsigned<D> du;
  return hn::BitCast(d, hn::And(hn::BitCast(du, pairs), hn::Set(du, 0xffff0000u)));
}

// Two vectors rounded to bf16, lane by lane side by side. No subnormals.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V RoundToPairs(D d, V even, V odd) {
  const hn::RebindToUnsigned<D> du;
#if HWY_TARGET == HWY_AVX3_DL
  if constexpr (hn::MaxLanes(D()) == 16) {
    const hn::Repartition<uint16_t, D> d16;
    HWY_ALIGN static constexpr uint16_t kInterleave[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                           21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                           11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const auto order = hn::Load(d16, kInterleave);
    hn::Vec<decltype(d16)> halves, pairs;  // even's numbers, then odd's; side by side
    asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(halves.raw) : "v"(even.raw), "v"(odd.raw));
    asm("vpermw %1, %2, %0" : "=v"(pairs.raw) : "v"(halves.raw), "v"(order.raw));
    return hn::BitCast(d, pairs);
  }
#endif
  const auto low = hn::ShiftRight<16>(RoundToBf16(d, even));
  return hn::BitCast(d, hn::Or(low, hn::And(RoundToBf16(d, odd), hn::Set(du, 0xffff0000u))));
}

// acc + a_odd b_odd, then + a_even b_even: two multiply-adds, the order of VDPBF16PS. Where that instruction is missing
// the caller holds FlushDenormals, so that the bits are its bits.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V MulAddPairs(D d, V a, V b, V acc) {
#if HWY_TARGET == HWY_AVX3_DL
  static_cast<void>(d);
  asm("vdpbf16ps %2, %1, %0" : "+v"(acc.raw) : "v"(a.raw), "v"(b.raw));
  return acc;
#else
  acc = hn::MulAdd(OddOfPairs(d, a), OddOfPairs(d, b), acc);
  return hn::MulAdd(EvenOfPairs(d, a), EvenOfPairs(d, b), acc);
#endif
}

// The same with one pair from memory for all lanes of `a`, as an operand of the instruction: a load of its own would
// take a slot of those that multiply.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V MulAddPairOfAll(D d, const float* a, V b, V acc) {
#if HWY_TARGET == HWY_AVX3_DL
  static_cast<void>(d);
  if constexpr (hn::MaxLanes(D()) == 16) {
    asm("vdpbf16ps %2%{1to16%}, %1, %0" : "+v"(acc.raw) : "v"(b.raw), "m"(*a));
    return acc;
  }
#endif
  return MulAddPairs(d, hn::Set(d, *a), b, acc);
}

}  // namespace gradus::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
