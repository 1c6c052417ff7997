#include "gradus/kernels/cpu/softmax.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gradus/kernels/cpu/softmax.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "gradus/kernels/cpu/loops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gradus::kernels::HWY_NAMESPACE {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// Without NaN the order of a maximum does not matter; with one the caller's sum of exponentials is NaN anyway.
float RowMax(const float* z, int64_t n) {
  FloatsV m = hn::Set(Floats(), kMinusInfinity);
  ForVectors(n, [&](int64_t j, auto io) HWY_ATTR { m = hn::Max(m, io.Load(z + j, kMinusInfinity)); });
  return hn::GetLane(hn::MaxOfLanes(Floats(), m));
}

// exp(z * inv - shift), whose argument is 0 but for rounding at the most; lanes behind a row's end give exactly 0.
template <class IO>
HWY_INLINE FloatsV ShiftedExp(IO io, const float* z, FloatsV inv, FloatsV shift) {
  return ExpUpTo88(Floats(), hn::Sub(hn::Mul(io.Load(z, kMinusInfinity), inv), shift));
}

float LogSumExp(const float* z, int64_t n, float inv) {
  const float m = RowMax(z, n) * inv;
  const FloatsV inv_v = hn::Set(Floats(), inv), m_v = hn::Set(Floats(), m);
  Lanes16 sum = Lanes16::Zero();
  ForVectorsOf16(n, [&](int64_t j, int64_t k, auto io)
                        HWY_ATTR { sum.v[k] = hn::Add(sum.v[k], ShiftedExp(io, z + j, inv_v, m_v)); });
  return m + std::log(sum.Sum());
}

void Softmax(const float* x, int64_t n, float* y) {
  const float m = RowMax(x, n);
  if (m == kMinusInfinity) {
    std::fill_n(y, n, 0.0f);
    return;
  }
  const FloatsV one = hn::Set(Floats(), 1.0f), m_v = hn::Set(Floats(), m);
  Lanes16 sum = Lanes16::Zero();
  ForVectorsOf16(n, [&](int64_t j, int64_t k, auto io) HWY_ATTR {
    const FloatsV e = ShiftedExp(io, x + j, one, m_v);
    sum.v[k] = hn::Add(sum.v[k], e);
    io.Store(e, y + j);
  });
  const FloatsV share = hn::Set(Floats(), 1.0f / sum.Sum());
  ForVectors(n, [&](int64_t j, auto io) HWY_ATTR { io.Store(hn::Mul(io.Load(y + j), share), y + j); });
}

void LogProbBackward(const ref::LogProbBackwardRow<float>& a) {
  const FloatsV inv = hn::Set(Floats(), a.inv), lse = hn::Set(Floats(), a.lse), g = hn::Set(Floats(), a.g);
  ForVectors(a.n, [&](int64_t j, auto io)
                      HWY_ATTR { io.Store(hn::Neg(hn::Mul(g, ShiftedExp(io, a.z + j, inv, lse))), a.z + j); });
}

int32_t Sample(const ref::SampleRow<float>& a) {
  constexpr int64_t kBlock = 64;  // probabilities are made in blocks, as far as the chain below reaches
  const FloatsV inv = hn::Set(Floats(), a.inv), lse = hn::Set(Floats(), a.lse);
  float p[kBlock];
  double cumulative = 0;
  int64_t last = 0;
  for (int64_t begin = 0; begin < a.n; begin += kBlock) {
    const int64_t n = std::min(kBlock, a.n - begin);
    ForVectors(n, [&](int64_t j, auto io) HWY_ATTR { io.Store(ShiftedExp(io, a.z + begin + j, inv, lse), p + j); });
    for (int64_t j = 0; j < n; ++j) {
      if (p[j] > 0) last = begin + j;
      cumulative += p[j];
      if (cumulative > a.u) return static_cast<int32_t>(begin + j);
    }
  }
  return static_cast<int32_t>(last);
}

}  // namespace
}  // namespace gradus::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradus::kernels::cpu {

HWY_EXPORT(RowMax);
HWY_EXPORT(LogSumExp);
HWY_EXPORT(Softmax);
HWY_EXPORT(LogProbBackward);
HWY_EXPORT(Sample);

float row_max(const float* z, int64_t n) {
  return HWY_DYNAMIC_DISPATCH(RowMax)(z, n);
}
float log_sum_exp(const float* z, int64_t n, float inv) {
  return HWY_DYNAMIC_DISPATCH(LogSumExp)(z, n, inv);
}
void softmax(const float* x, int64_t n, float* y) {
  HWY_DYNAMIC_DISPATCH(Softmax)(x, n, y);
}
void log_prob_backward(const ref::LogProbBackwardRow<float>& a) {
  HWY_DYNAMIC_DISPATCH(LogProbBackward)(a);
}
int32_t sample(const ref::SampleRow<float>& a) {
  return HWY_DYNAMIC_DISPATCH(Sample)(a);
}

}  // namespace gradus::kernels::cpu
#endif
