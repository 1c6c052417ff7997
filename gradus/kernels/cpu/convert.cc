#include "gradus/kernels/cpu/convert.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gradus/kernels/cpu/convert.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

#include "gradus/kernels/cpu/half-inl.h"
#include "gradus/kernels/cpu/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gradus::kernels::HWY_NAMESPACE {
namespace {

template <class From, class To>
HWY_INLINE void Convert(const From* x, int64_t n, To* y) {
  const Lanes16::D d;
  constexpr int64_t kLanes = hn::MaxLanes(Lanes16::D());
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) StoreFloats(d, LoadFloats(d, x + i), y + i);
  if (i == n) return;
  From x_end[kLanes] = {};
  To y_end[kLanes];
  std::copy(x + i, x + n, x_end);
  StoreFloats(d, LoadFloats(d, x_end), y_end);
  std::copy_n(y_end, n - i, y + i);
}

void WidenBf16(const BFloat16* x, int64_t n, float* y) {
  Convert(x, n, y);
}
void WidenF16(const Float16* x, int64_t n, float* y) {
  Convert(x, n, y);
}
void NarrowBf16(const float* x, int64_t n, BFloat16* y) {
  Convert(x, n, y);
}
void NarrowF16(const float* x, int64_t n, Float16* y) {
  Convert(x, n, y);
}

}  // namespace
}  // namespace gradus::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradus::kernels::cpu {

HWY_EXPORT(WidenBf16);
HWY_EXPORT(WidenF16);
HWY_EXPORT(NarrowBf16);
HWY_EXPORT(NarrowF16);

void widen(const BFloat16* x, int64_t n, float* y) {
  HWY_DYNAMIC_DISPATCH(WidenBf16)(x, n, y);
}
void widen(const Float16* x, int64_t n, float* y) {
  HWY_DYNAMIC_DISPATCH(WidenF16)(x, n, y);
}
void narrow(const float* x, int64_t n, BFloat16* y) {
  HWY_DYNAMIC_DISPATCH(NarrowBf16)(x, n, y);
}
void narrow(const float* x, int64_t n, Float16* y) {
  HWY_DYNAMIC_DISPATCH(NarrowF16)(x, n, y);
}

}  // namespace gradus::kernels::cpu
#endif
