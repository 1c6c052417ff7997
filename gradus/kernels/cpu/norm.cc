#include "gradus/kernels/cpu/norm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gradus/kernels/cpu/norm.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "gradus/kernels/cpu/loops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gradus::kernels::HWY_NAMESPACE {
namespace {

void RmsNorm(const ref::RmsNorm<float>& a) {
  Lanes16 squares = Lanes16::Zero();
  ForVectorsOf16(a.cols, [&](int64_t j, int64_t k, auto io) HWY_ATTR {
    const FloatsV v = io.Load(a.x + j);
    squares.v[k] = hn::MulAdd(v, v, squares.v[k]);
  });
  const float inv = 1.0f / std::sqrt(squares.Sum() / static_cast<float>(a.cols) + a.eps);
  const FloatsV scale = hn::Set(Floats(), inv);
  ForVectors(a.cols, [&](int64_t j, auto io) HWY_ATTR {
    io.Store(hn::Mul(hn::Mul(io.Load(a.x + j), scale), io.Load(a.gain + j)), a.y + j);
  });
  *a.inv_rms = inv;
}

void RmsNormBackward(const ref::RmsNormBackward<float>& a) {
  Lanes16 dots = Lanes16::Zero();
  ForVectorsOf16(a.cols, [&](int64_t j, int64_t k, auto io) HWY_ATTR {
    const FloatsV u = hn::Mul(io.Load(a.d_y + j), io.Load(a.gain + j));
    dots.v[k] = hn::MulAdd(u, io.Load(a.x + j), dots.v[k]);
  });
  const float inv = a.inv_rms;
  const float c = dots.Sum() * inv * inv * inv / static_cast<float>(a.cols);
  const FloatsV inv_v = hn::Set(Floats(), inv), minus_c = hn::Set(Floats(), -c);
  ForVectors(a.cols, [&](int64_t j, auto io) HWY_ATTR {
    const FloatsV x_j = io.Load(a.x + j), d_y_j = io.Load(a.d_y + j);
    io.Store(hn::MulAdd(d_y_j, hn::Mul(x_j, inv_v), io.Load(a.d_gain + j)), a.d_gain + j);
    io.Store(hn::MulAdd(minus_c, x_j, hn::Mul(inv_v, hn::Mul(d_y_j, io.Load(a.gain + j)))), a.d_x + j);
  });
}

}  // namespace
}  // namespace gradus::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradus::kernels::cpu {

HWY_EXPORT(RmsNorm);
HWY_EXPORT(RmsNormBackward);

void rms_norm(const ref::RmsNorm<float>& a) {
  HWY_DYNAMIC_DISPATCH(RmsNorm)(a);
}
void rms_norm_backward(const ref::RmsNormBackward<float>& a) {
  HWY_DYNAMIC_DISPATCH(RmsNormBackward)(a);
}

}  // namespace gradus::kernels::cpu
#endif
