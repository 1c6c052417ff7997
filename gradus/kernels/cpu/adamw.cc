#include "gradus/kernels/cpu/adamw.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gradus/kernels/cpu/adamw.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "gradus/kernels/cpu/loops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gradus::kernels::HWY_NAMESPACE {
namespace {

void AdamW(const ref::AdamW<float>& a) {
  const Floats d;
  const FloatsV grad_scale = hn::Set(d, a.grad_scale), inv_correction2 = hn::Set(d, a.inv_correction2);
  const FloatsV beta1 = hn::Set(d, a.beta1), one_minus_beta1 = hn::Set(d, a.one_minus_beta1);
  const FloatsV beta2 = hn::Set(d, a.beta2), one_minus_beta2 = hn::Set(d, a.one_minus_beta2);
  const FloatsV eps = hn::Set(d, a.eps), decay = hn::Set(d, a.decay), step_size = hn::Set(d, a.step_size);
  ForVectors(a.n, [&](int64_t i, auto io) HWY_ATTR {
    const FloatsV g = hn::Mul(io.Load(a.grad + i), grad_scale);
    const FloatsV m = hn::MulAdd(beta1, io.Load(a.m + i), hn::Mul(one_minus_beta1, g));
    const FloatsV v = hn::MulAdd(beta2, io.Load(a.v + i), hn::Mul(hn::Mul(one_minus_beta2, g), g));
    const FloatsV r = hn::Div(m, hn::Add(hn::Sqrt(hn::Mul(v, inv_correction2)), eps));
    const FloatsV param = io.Load(a.param + i);
    const FloatsV decayed = hn::NegMulAdd(decay, param, param);
    io.Store(m, a.m + i);
    io.Store(v, a.v + i);
    io.Store(hn::NegMulAdd(step_size, r, decayed), a.param + i);
  });
}

}  // namespace
}  // namespace gradus::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradus::kernels::cpu {

HWY_EXPORT(AdamW);

void adamw(const ref::AdamW<float>& a) {
  HWY_DYNAMIC_DISPATCH(AdamW)(a);
}

}  // namespace gradus::kernels::cpu
#endif
