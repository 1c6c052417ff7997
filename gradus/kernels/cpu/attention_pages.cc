// Keys and values into pages; see gradus/kernels/attention.h for their layout.
#define HWY_WANT_AVX3_DL  // the target with products of bf16 pairs
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gradus/kernels/cpu/attention_pages.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <type_traits>

#include "gradus/core/thread_pool.h"
#include "gradus/kernels/cpu/attention.h"
#include "gradus/kernels/cpu/half-inl.h"
#include "gradus/kernels/cpu/row_products-inl.h"

#ifndef GRADUS_KERNELS_CPU_ATTENTION_PAGES_ONCE
#define GRADUS_KERNELS_CPU_ATTENTION_PAGES_ONCE

namespace gradus::kernels::cpu {

template <class T>
struct StoreProblem {
  int64_t G, D;
  const T *k, *v;
  const AttentionLayout& layout;
  T *keys, *values;
};

}  // namespace gradus::kernels::cpu

#endif

HWY_BEFORE_NAMESPACE();
namespace gradus::kernels::HWY_NAMESPACE {
namespace {

constexpr int64_t B = kKeyBlock;

// Values [n, D], rows `step` apart, of the slots from `slot` on.
template <class T>
HWY_INLINE void StoreValues(const T* v, int64_t step, int64_t n, int64_t D, int64_t slot, RightOf<T>* values) {
  for (int64_t i = 0; i < n;) {
    if (Operands<T>::kPair == 2 && (slot + i) % 2 == 0 && i + 1 < n) {
      if constexpr (Operands<T>::kPair == 2) {
        InterleaveRows(v + i * step, v + (i + 1) * step, D, values + (slot + i) / 2 * D);
      }
      i += 2;
    } else {
      StoreValue(v + i * step, D, slot + i, values);
      ++i;
    }
  }
}

// Rows [begin, end) of the batch into their pages: runs of rows that share a page are transposed at once.
template <class T>
void StoreRows(const cpu::StoreProblem<T>& f, int64_t begin, int64_t end) {
  constexpr int64_t kPair = Operands<T>::kPair;
  using Lane = RightOf<T>;
  const auto& offsets = f.layout.row_offsets;
  int64_t sequence = std::upper_bound(offsets.begin(), offsets.end(), begin) - offsets.begin() - 1;
  for (int64_t r = begin; r < end;) {
    while (r >= offsets[sequence + 1]) ++sequence;
    const int64_t position = f.layout.key_positions[r], slot = position % B;
    if (position < 0) {
      ++r;
      continue;
    }
    const int64_t n = std::min({B - slot, end - r, offsets[sequence + 1] - r});
    for (int64_t g = 0; g < f.G; ++g) {
      const int64_t page = (f.layout.block_table[sequence * f.layout.max_blocks + position / B] * f.G + g) * f.D * B;
      const int64_t from = (r * f.G + g) * f.D, step = f.G * f.D;
      if (g + 1 < f.G) {  // rows of one head lie G D numbers apart, which the hardware does not foresee
        for (int64_t i = 0; i < n; ++i) {
          PrefetchRow(f.k + from + f.D + i * step, f.D);
          PrefetchRow(f.v + from + f.D + i * step, f.D);
        }
      }
      Transpose(RightMatrix<Lane>{AsOperands(f.k + from), step / kPair}, n, f.D / kPair,
                OutMatrix<Lane>{AsOperands(f.keys + page) + slot, B});
      StoreValues(f.v + from, step, n, f.D, slot, AsOperands(f.values + page));
    }
    r += n;
  }
}

// Highway exports functions, not templates.
void StoreF32(const cpu::StoreProblem<float>& f, int64_t begin, int64_t end) {
  StoreRows(f, begin, end);
}
void StoreBf16(const cpu::StoreProblem<BFloat16>& f, int64_t begin, int64_t end) {
  StoreRows(f, begin, end);
}
void StoreF16(const cpu::StoreProblem<Float16>& f, int64_t begin, int64_t end) {
  StoreRows(f, begin, end);
}

}  // namespace
}  // namespace gradus::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradus::kernels {
HWY_EXPORT(StoreF32);
HWY_EXPORT(StoreBf16);
HWY_EXPORT(StoreF16);
}  // namespace gradus::kernels

namespace gradus::kernels::cpu {

namespace {

// The kernel of a dtype on the active instruction set.
template <class T>
auto store_of() {
  if constexpr (std::is_same_v<T, float>) return HWY_DYNAMIC_DISPATCH(StoreF32);
  if constexpr (std::is_same_v<T, BFloat16>) return HWY_DYNAMIC_DISPATCH(StoreBf16);
  if constexpr (std::is_same_v<T, Float16>) return HWY_DYNAMIC_DISPATCH(StoreF16);
}

}  // namespace

template <class T>
void store_keys_values(const Tensor& k, const Tensor& v, const AttentionLayout& layout, const AttentionShape& shape,
                       KeyValuePages& pages) {
  const StoreProblem<T> f{.G = shape.kv_heads,
                          .D = shape.head_size,
                          .k = k.data<T>(),
                          .v = v.data<T>(),
                          .layout = layout,
                          .keys = pages.keys.data<T>(),
                          .values = pages.values.data<T>()};
  const auto store_rows = store_of<T>();
  parallel_ranges(k.dim(0), kKeyBlock, [&](int64_t begin, int64_t end) { store_rows(f, begin, end); });
}

#define GRADUS_INSTANTIATE(T)                                                                                     \
  template void store_keys_values<T>(const Tensor&, const Tensor&, const AttentionLayout&, const AttentionShape&, \
                                     KeyValuePages&);
GRADUS_INSTANTIATE(float)
GRADUS_INSTANTIATE(BFloat16)
GRADUS_INSTANTIATE(Float16)
#undef GRADUS_INSTANTIATE

}  // namespace gradus::kernels::cpu
#endif
