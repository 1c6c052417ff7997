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

void Relu(const ref::Activation<float>& a) {
  const FloatsV zero = hn::Zero(Floats());
  ForVectors(a.n, [&](int64_t i, auto io) HWY_ATTR {
    const FloatsV x = io.Load(a.x + i);
    io.Store(hn::IfThenElse(hn::Lt(x, zero), zero, x), a.y + i);
  });
}

void ReluBackward(const ref::ActivationBackward<float>& a) {
  const FloatsV zero = hn::Zero(Floats());
  ForVectors(a.n, [&](int64_t i, auto io) HWY_ATTR {
    io.Store(hn::IfThenElseZero(hn::Gt(io.Load(a.y + i), zero), io.Load(a.d_y + i)), a.d_x + i);
  });
}

void TanhActivation(const ref::Activation<float>& a) {
  ForVectors(a.n, [&](int64_t i, auto io) HWY_ATTR { io.Store(Tanh(Floats(), io.Load(a.x + i)), a.y + i); });
}

void TanhBackward(const ref::ActivationBackward<float>& a) {
  const FloatsV one = hn::Set(Floats(), 1.0f);
  ForVectors(a.n, [&](int64_t i, auto io) HWY_ATTR {
    const FloatsV y = io.Load(a.y + i);
    io.Store(hn::Mul(io.Load(a.d_y + i), hn::NegMulAdd(y, y, one)), a.d_x + i);
  });
}

}  // namespace
}  // namespace gradus::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradus::kernels::cpu {

HWY_EXPORT(SwiGlu);
HWY_EXPORT(SwiGluBackward);
HWY_EXPORT(Relu);
HWY_EXPORT(ReluBackward);
HWY_EXPORT(TanhActivation);
HWY_EXPORT(TanhBackward);

void swiglu(const ref::SwiGlu<float>& a) {
  HWY_DYNAMIC_DISPATCH(SwiGlu)(a);
}
void swiglu_backward(const ref::SwiGluBackward<float>& a) {
  HWY_DYNAMIC_DISPATCH(SwiGluBackward)(a);
}

void relu(const ref::Activation<float>& a) {
  HWY_DYNAMIC_DISPATCH(Relu)(a);
}
void relu_backward(const ref::ActivationBackward<float>& a) {
  HWY_DYNAMIC_DISPATCH(ReluBackward)(a);
}
void tanh(const ref::Activation<float>& a) {
  HWY_DYNAMIC_DISPATCH(TanhActivation)(a);
}
void tanh_backward(const ref::ActivationBackward<float>& a) {
  HWY_DYNAMIC_DISPATCH(TanhBackward)(a);
}

}  // namespace gradus::kernels::cpu
#endif
