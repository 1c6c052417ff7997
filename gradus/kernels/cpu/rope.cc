#include "gradus/kernels/cpu/rope.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gradus/kernels/cpu/rope.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "gradus/kernels/cpu/loops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gradus::kernels::HWY_NAMESPACE {
namespace {

void RopeRow(const ref::RopeRow<float>& a) {
  const FloatsV sign = hn::Set(Floats(), a.sign);
  // Heads inside: a vector of the table is read once for all of them.
  ForVectors(a.half, [&](int64_t i, auto io) HWY_ATTR {
    const FloatsV c = io.Load(a.cos + i), s = hn::Mul(sign, io.Load(a.sin + i));
    for (int64_t h = 0; h < a.heads; ++h) {
      float* low = a.x + h * 2 * a.half + i;
      float* high = low + a.half;
      const FloatsV x1 = io.Load(low), x2 = io.Load(high);
      io.Store(hn::NegMulAdd(x2, s, hn::Mul(x1, c)), low);
      io.Store(hn::MulAdd(x1, s, hn::Mul(x2, c)), high);
    }
  });
}

}  // namespace
}  // namespace gradus::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradus::kernels::cpu {

HWY_EXPORT(RopeRow);

void rope_row(const ref::RopeRow<float>& a) {
  HWY_DYNAMIC_DISPATCH(RopeRow)(a);
}

}  // namespace gradus::kernels::cpu
#endif
