#include "gradus/kernels/cpu/activation.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gradus/kernels/cpu/activation.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "gradus/kernels/cpu/loops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gradus::kernels::HWY_NAMESPACE {
namespace {

HWY_INLINE FloatsV Sigmoid(FloatsV x) {
  const FloatsV one = hn::Set(Floats(), 1.0f);
  return hn::Div(one, hn::Add(one, Exp(Floats(), hn::Neg(x))));
}

void SwiGlu(const ref::SwiGlu<float>& a) {
  ForVectors(a.n, [&](int64_t i, auto io) HWY_ATTR {
    const FloatsV gate = io.Load(a.gate + i);
    io.Store(hn::Mul(hn::Mul(gate, Sigmoid(gate)), io.Load(a.up + i)), a.y + i);
  });
}

void SwiGluBackward(const ref::SwiGluBackward<float>& a) {
  const FloatsV one = hn::Set(Floats(), 1.0f);
  ForVectors(a.n, [&](int64_t i, auto io) HWY_ATTR {
    const FloatsV gate = io.Load(a.gate + i), up = io.Load(a.up + i), d_y = io.Load(a.d_y + i);
    const FloatsV s = Sigmoid(gate);
    const FloatsV t = hn::MulAdd(gate, hn::Sub(one, s), one);
    io.Store(hn::Mul(d_y, hn::Mul(gate, s)), a.d_up + i);
    io.Store(hn::Mul(hn::Mul(d_y, up), hn::Mul(s, t)), a.d_gate + i);
  });
}

}  // namespace
}  // namespace gradus::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradus::kernels::cpu {

HWY_EXPORT(SwiGlu);
HWY_EXPORT(SwiGluBackward);

void swiglu(const ref::SwiGlu<float>& a) {
  HWY_DYNAMIC_DISPATCH(SwiGlu)(a);
}
void swiglu_backward(const ref::SwiGluBackward<float>& a) {
  HWY_DYNAMIC_DISPATCH(SwiGluBackward)(a);
}

}  // namespace gradus::kernels::cpu
#endif
