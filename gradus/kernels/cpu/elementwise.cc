#include "gradus/kernels/cpu/elementwise.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gradus/kernels/cpu/elementwise.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "gradus/kernels/cpu/loops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gradus::kernels::HWY_NAMESPACE {
namespace {

void Add(const float* a, const float* b, int64_t n, float* y) {
  ForVectors(n, [&](int64_t i, auto io) HWY_ATTR { io.Store(hn::Add(io.Load(a + i), io.Load(b + i)), y + i); });
}

void Scale(float s, int64_t n, float* x) {
  const FloatsV s_v = hn::Set(Floats(), s);
  ForVectors(n, [&](int64_t i, auto io) HWY_ATTR { io.Store(hn::Mul(io.Load(x + i), s_v), x + i); });
}

void Axpy(float alpha, const float* x, int64_t n, float* y) {
  const FloatsV a = hn::Set(Floats(), alpha);
  ForVectors(n, [&](int64_t i, auto io) HWY_ATTR { io.Store(hn::MulAdd(a, io.Load(x + i), io.Load(y + i)), y + i); });
}

void Lerp(float t, const float* x, int64_t n, float* y) {
  const FloatsV t_v = hn::Set(Floats(), t);
  ForVectors(n, [&](int64_t i, auto io) HWY_ATTR {
    const FloatsV y_v = io.Load(y + i);
    io.Store(hn::MulAdd(t_v, hn::Sub(io.Load(x + i), y_v), y_v), y + i);
  });
}

void SumRows(const float* x, int64_t rows, int64_t cols, float* sum) {
  ForVectors(cols, [&](int64_t j, auto io) HWY_ATTR {
    FloatsV total = hn::Zero(Floats());
    for (int64_t r = 0; r < rows; ++r) total = hn::Add(total, io.Load(x + r * cols + j));
    io.Store(total, sum + j);
  });
}

// Sixteen double lanes; see Lanes16 for floats.
using Doubles = hn::CappedTag<double, 8>;
constexpr int64_t kDoubleLanes = hn::MaxLanes(Doubles());
constexpr int64_t kDoubleVectors = 16 / kDoubleLanes;

HWY_INLINE void AddProducts16(const float* x, const float* w, hn::Vec<Doubles>* lanes) {
  const Doubles d;
  const hn::Rebind<float, Doubles> half;
  for (int64_t k = 0; k < kDoubleVectors; ++k) {
    const auto x_k = hn::PromoteTo(d, hn::LoadU(half, x + k * kDoubleLanes));
    const auto w_k = hn::PromoteTo(d, hn::LoadU(half, w + k * kDoubleLanes));
    lanes[k] = hn::MulAdd(x_k, w_k, lanes[k]);  // the product is exact: fused or not makes no difference
  }
}

double Dot(const float* x, const float* w, int64_t n) {
  hn::Vec<Doubles> lanes[kDoubleVectors];
  for (auto& lane : lanes) lane = hn::Zero(Doubles());
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) AddProducts16(x + i, w + i, lanes);
  if (i < n) {
    float x_end[16] = {}, w_end[16] = {};
    std::copy(x + i, x + n, x_end);
    std::copy(w + i, w + n, w_end);
    AddProducts16(x_end, w_end, lanes);
  }
  HWY_ALIGN double lane[16];
  for (int64_t k = 0; k < kDoubleVectors; ++k) hn::Store(lanes[k], Doubles(), lane + k * kDoubleLanes);
  for (int width = 8; width >= 1; width /= 2) {
    for (int l = 0; l < width; ++l) lane[l] += lane[l + width];
  }
  return lane[0];
}

bool AllFinite(const float* x, int64_t n) {
  const FloatsV zero = hn::Zero(Floats());
  FloatsV marks = zero;  // 0 * infinity and 0 * NaN are NaN and stay NaN
  ForVectors(n, [&](int64_t i, auto io) HWY_ATTR { marks = hn::MulAdd(io.Load(x + i), zero, marks); });
  return hn::AllTrue(Floats(), hn::Eq(marks, zero));
}

}  // namespace
}  // namespace gradus::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradus::kernels::cpu {

HWY_EXPORT(Add);
HWY_EXPORT(Scale);
HWY_EXPORT(Axpy);
HWY_EXPORT(Lerp);
HWY_EXPORT(SumRows);
HWY_EXPORT(Dot);
HWY_EXPORT(AllFinite);

void add(const float* a, const float* b, int64_t n, float* y) {
  HWY_DYNAMIC_DISPATCH(Add)(a, b, n, y);
}
void scale(float s, int64_t n, float* x) {
  HWY_DYNAMIC_DISPATCH(Scale)(s, n, x);
}
void axpy(float alpha, const float* x, int64_t n, float* y) {
  HWY_DYNAMIC_DISPATCH(Axpy)(alpha, x, n, y);
}
void lerp(float t, const float* x, int64_t n, float* y) {
  HWY_DYNAMIC_DISPATCH(Lerp)(t, x, n, y);
}
void sum_rows(const float* x, int64_t rows, int64_t cols, float* sum) {
  HWY_DYNAMIC_DISPATCH(SumRows)(x, rows, cols, sum);
}
double dot(const float* x, const float* w, int64_t n) {
  return HWY_DYNAMIC_DISPATCH(Dot)(x, w, n);
}
bool all_finite(const float* x, int64_t n) {
  return HWY_DYNAMIC_DISPATCH(AllFinite)(x, n);
}

}  // namespace gradus::kernels::cpu
#endif
