#include "bench/machine_loops.h"

#include "gradus/kernels/isa.h"

#define HWY_WANT_AVX3_DL  // for VDPBF16PS
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/machine_loops.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "gradus/kernels/cpu/half-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gradus::bench::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;

// Chains side by side: two units of latency 4 need 8; 12 fit the 16 registers of the smaller instruction sets.
constexpr int kChains = 12;

double MultiplyAddLoop(int64_t iterations, float& sink) {
  constexpr D d;
  const auto x = hn::Set(d, 0.999f), y = hn::Set(d, sink);
  hn::Vec<D> acc[kChains];
  for (auto& a : acc) a = y;
  for (int64_t i = 0; i < iterations; ++i) {
    for (auto& a : acc) a = hn::MulAdd(a, x, y);
  }
  for (int c = 1; c < kChains; ++c) acc[0] = hn::Add(acc[0], acc[c]);
  sink = hn::GetLane(acc[0]);
  return 2.0 * kChains * static_cast<double>(hn::MaxLanes(d)) * static_cast<double>(iterations);
}

double MultiplyAddPairsLoop(int64_t iterations, float& sink) {
  constexpr D d;
  const auto x = hn::Set(d, 0.5f), y = hn::Set(d, sink);
  hn::Vec<D> acc[kChains];
  for (auto& a : acc) a = y;
  for (int64_t i = 0; i < iterations; ++i) {
    for (auto& a : acc) a = kernels::HWY_NAMESPACE::MulAddPairs(d, x, y, a);
  }
  for (int c = 1; c < kChains; ++c) acc[0] = hn::Add(acc[0], acc[c]);
  sink = hn::GetLane(acc[0]);
  return 4.0 * kChains * static_cast<double>(hn::MaxLanes(d)) * static_cast<double>(iterations);
}

float ReadLoop(const float* data, int64_t n) {
  constexpr D d;
  constexpr int64_t kLanes = hn::MaxLanes(d);
  hn::Vec<D> acc[8];
  for (auto& a : acc) a = hn::Zero(d);
  for (int64_t i = 0; i + 8 * kLanes <= n; i += 8 * kLanes) {
    for (int64_t c = 0; c < 8; ++c) acc[c] = hn::Add(acc[c], hn::LoadU(d, data + i + c * kLanes));
  }
  for (int c = 1; c < 8; ++c) acc[0] = hn::Add(acc[0], acc[c]);
  return hn::GetLane(acc[0]);
}

void SumLoop(float* const* arrays, size_t n_arrays, int64_t begin, int64_t end) {
  constexpr D d;
  constexpr int64_t kLanes = hn::MaxLanes(d);
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) {
    auto sum = hn::LoadU(d, arrays[0] + i);
    for (size_t a = 1; a < n_arrays; ++a) sum = hn::Add(sum, hn::LoadU(d, arrays[a] + i));
    for (size_t a = 0; a < n_arrays; ++a) hn::StoreU(sum, d, arrays[a] + i);
  }
  for (; i < end; ++i) {
    float sum = arrays[0][i];
    for (size_t a = 1; a < n_arrays; ++a) sum += arrays[a][i];
    for (size_t a = 0; a < n_arrays; ++a) arrays[a][i] = sum;
  }
}

}  // namespace gradus::bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradus::bench {
HWY_EXPORT(MultiplyAddLoop);
HWY_EXPORT(MultiplyAddPairsLoop);
HWY_EXPORT(ReadLoop);
HWY_EXPORT(SumLoop);

double multiply_add_loop(int64_t iterations, float& sink) {
  kernels::active_isa();  // Highway's choice follows ours from here on
  return HWY_DYNAMIC_DISPATCH(MultiplyAddLoop)(iterations, sink);
}

double multiply_add_pairs_loop(int64_t iterations, float& sink) {
  kernels::active_isa();
  return HWY_DYNAMIC_DISPATCH(MultiplyAddPairsLoop)(iterations, sink);
}

float read_loop(std::span<const float> data) {
  kernels::active_isa();
  return HWY_DYNAMIC_DISPATCH(ReadLoop)(data.data(), static_cast<int64_t>(data.size()));
}

void sum_loop(std::span<float* const> arrays, int64_t begin, int64_t end) {
  kernels::active_isa();
  HWY_DYNAMIC_DISPATCH(SumLoop)(arrays.data(), arrays.size(), begin, end);
}

}  // namespace gradus::bench
#endif
