// Loops over float arrays, one text for every instruction set (Highway). Included once per target.
#if defined(GRADUS_KERNELS_CPU_LOOPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GRADUS_KERNELS_CPU_LOOPS_INL_H_
#undef GRADUS_KERNELS_CPU_LOOPS_INL_H_
#else
#define GRADUS_KERNELS_CPU_LOOPS_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

#include "gradus/kernels/cpu/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gradus::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = Lanes16::D;
using FloatsV = hn::Vec<Floats>;
inline constexpr int64_t kLanes = hn::MaxLanes(Floats());

// How a loop's body reads and writes one vector of an array: all of its lanes, or the first n of the array's end.
struct Whole {
  HWY_INLINE FloatsV Load(const float* p, float = 0) const { return hn::LoadU(Floats(), p); }
  HWY_INLINE void Store(FloatsV v, float* p) const { hn::StoreU(v, Floats(), p); }
};

struct Part {
  size_t n;  // 0 < n < kLanes
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
  // The masked instructions of these targets do not touch the lanes left out.
  HWY_INLINE FloatsV Load(const float* p) const {
    return hn::MaskedLoad(hn::FirstN(Floats(), n), Floats(), p);
  }
  HWY_INLINE FloatsV Load(const float* p, float others) const {
    return hn::IfThenElse(hn::FirstN(Floats(), n), Load(p), hn::Set(Floats(), others));
  }
  HWY_INLINE void Store(FloatsV v, float* p) const {
    hn::BlendedStore(v, hn::FirstN(Floats(), n), Floats(), p);
  }
#else
  HWY_INLINE FloatsV Load(const float* p, float others = 0) const {
    HWY_ALIGN float lane[kLanes];
    hn::Store(hn::Set(Floats(), others), Floats(), lane);
    std::memcpy(lane, p, n * sizeof(float));
    return hn::Load(Floats(), lane);
  }
  HWY_INLINE void Store(FloatsV v, float* p) const {
    HWY_ALIGN float lane[kLanes];
    hn::Store(v, Floats(), lane);
    std::memcpy(p, lane, n * sizeof(float));
  }
#endif
};

// body(i, io) for i = 0, kLanes, 2 kLanes, ... < n, where io loads and stores the vector at element i.
template <class Body>
HWY_INLINE void ForVectors(int64_t n, Body body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, Whole{});
  if (i < n) body(i, Part{static_cast<size_t>(n - i)});
}

// The same, with the index k into Lanes16::v that element i's vector belongs to: body(i, k, io).
template <class Body>
HWY_INLINE void ForVectorsOf16(int64_t n, Body body) {
  constexpr int64_t kVectors = Lanes16::kVectors;
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (int64_t k = 0; k < kVectors; ++k) body(i + k * kLanes, k, Whole{});
  }
  for (int64_t k = 0; k < kVectors && i < n; ++k, i += kLanes) {
    if (i + kLanes <= n) {
      body(i, k, Whole{});
    } else {
      body(i, k, Part{static_cast<size_t>(n - i)});
    }
  }
}

}  // namespace gradus::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
