// Small matrix products and transposes in registers, the parts that attention is made of. Included once per target.
#if defined(GRADUS_KERNELS_CPU_ROW_PRODUCTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GRADUS_KERNELS_CPU_ROW_PRODUCTS_INL_H_
#undef GRADUS_KERNELS_CPU_ROW_PRODUCTS_INL_H_
#else
#define GRADUS_KERNELS_CPU_ROW_PRODUCTS_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <type_traits>

#include "gradus/core/dtype.h"
#include "gradus/kernels/cpu/half-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gradus::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The bits of two bf16 numbers side by side, one lane of a vector of pairs. Arrays of it start undefined.
struct Bf16Pair {
  uint16_t even, odd;
};

// What products over numbers of type T take: floats (a float16 becomes one, on the right as late as in the register),
// or pairs of bf16, so that an index k counts kPair numbers.
template <class T>
struct Operands {
  using Left = float;
  using Right = T;
  static constexpr int64_t kPair = 1;
};
template <>
struct Operands<BFloat16> {
  using Left = Bf16Pair;
  using Right = Bf16Pair;
  static constexpr int64_t kPair = 2;
};
template <class T>
using LeftOf = typename Operands<T>::Left;
template <class T>
using RightOf = typename Operands<T>::Right;

// Numbers in memory as operands of products.
template <class T>
HWY_INLINE const RightOf<T>* AsOperands(const T* x) {
  return reinterpret_cast<const RightOf<T>*>(x);
}
template <class T>
HWY_INLINE RightOf<T>* AsOperands(T* x) {
  return reinterpret_cast<RightOf<T>*>(x);
}

// One vector of lanes, and one lane for all.
template <class D, class Lane>
HWY_INLINE hn::Vec<D> LoadLanes(D d, const Lane* p) {
  return LoadFloats(d, p);
}
template <class D>
HWY_INLINE hn::Vec<D> LoadLanes(D d, const Bf16Pair* p) {
  return hn::LoadU(d, reinterpret_cast<const float*>(p));
}
template <class D, class Lane>
HWY_INLINE void StoreLanes(D d, hn::Vec<D> x, Lane* p) {
  StoreFloats(d, x, p);
}
template <class D>
HWY_INLINE void StoreLanes(D d, hn::Vec<D> x, Bf16Pair* p) {
  hn::StoreU(x, d, reinterpret_cast<float*>(p));
}
template <class D, class Lane>
HWY_INLINE hn::Vec<D> SetLanes(D d, Lane x) {
  return hn::Set(d, std::bit_cast<float>(x));
}

// sum + a b for the operands' lanes: one multiply-add, or two for pairs.
template <class D, class V>
HWY_INLINE V MulAddLanes(D, const float*, V a, V b, V sum) {
  return hn::MulAdd(a, b, sum);
}
template <class D, class V>
HWY_INLINE V MulAddLanes(D d, const Bf16Pair*, V a, V b, V sum) {
  return MulAddPairs(d, a, b, sum);
}

// a[r][k] = data[r * row_step + k * step];  b[k][n] = data[k * step + n];  out[r][n] = data[r * row_step + n].
template <class Lane>
struct LeftMatrix {
  const Lane* data;
  int64_t row_step, step;
};
template <class Lane>
struct RightMatrix {
  const Lane* data;
  int64_t step;
  int64_t ahead = 0;  // if not 0 and rows are few: while an element is read, the one so far behind it is asked for
};
template <class Lane = float>
struct OutMatrix {
  Lane* data;
  int64_t row_step;
};

enum class Merge {
  store,    // out[r][n] = chain_k a[r][k] b[k][n], from 0, k ascending; in a pair the odd number's product first
  extend,   // the chain goes on from out[r][n]
  rescale,  // out[r][n] = out[r][n] * alpha[r] + the chain from 0
};

HWY_INLINE void PrefetchToL2(const void* p) {
  __builtin_prefetch(p, 0, 2);
}

// kRows x kVecs accumulators that stay in registers for the whole chain.
template <Merge kMerge, int kRows, int kVecs, bool kAhead, class D, class L, class R>
HWY_INLINE void ProductTile(D d, LeftMatrix<L> a, RightMatrix<R> b, OutMatrix<> out, int64_t n_k,
                            const float* HWY_RESTRICT alpha) {
  using V = hn::Vec<D>;
  constexpr int64_t N = hn::MaxLanes(D());
  V sum[kRows][kVecs];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) {
      sum[r][v] = kMerge == Merge::extend ? hn::LoadU(d, out.data + r * out.row_step + v * N) : hn::Zero(d);
    }
  }
  const L* HWY_RESTRICT a_k = a.data;
  const R* HWY_RESTRICT b_k = b.data;
  for (int64_t k = 0; k < n_k; ++k, a_k += a.step, b_k += b.step) {
    V b_v[kVecs];
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) {
      b_v[v] = LoadLanes(d, b_k + v * N);
      if constexpr (kAhead) PrefetchToL2(b_k + v * N + b.ahead);
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const V a_r = SetLanes(d, a_k[r * a.row_step]);
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v) sum[r][v] = MulAddLanes(d, a_k, a_r, b_v[v], sum[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) {
      float* to = out.data + r * out.row_step + v * N;
      if constexpr (kMerge == Merge::rescale) sum[r][v] = hn::MulAdd(hn::LoadU(d, to), hn::Set(d, alpha[r]), sum[r][v]);
      hn::StoreU(sum[r][v], d, to);
    }
  }
}

// kRows rows over n_columns (a multiple of 8) columns: panels of kVecs vectors, the rest in panels of half the width.
template <Merge kMerge, int kRows, int kVecs, bool kAhead = false, class D, class L, class R>
HWY_INLINE void ProductRows(D d, LeftMatrix<L> a, RightMatrix<R> b, OutMatrix<> out, int64_t n_k, int64_t n_columns,
                            const float* alpha) {
  constexpr int64_t kWidth = kVecs * static_cast<int64_t>(hn::MaxLanes(D()));
  for (; n_columns >= kWidth; n_columns -= kWidth, b.data += kWidth, out.data += kWidth) {
    ProductTile<kMerge, kRows, kVecs, kAhead>(d, a, b, out, n_k, alpha);
  }
  if constexpr (kWidth > 8) {
    if (n_columns == 0) return;
    if constexpr (kVecs > 1) {
      ProductRows<kMerge, kRows, kVecs / 2, kAhead>(d, a, b, out, n_k, n_columns, alpha);
    } else {
      ProductRows<kMerge, kRows, 1, kAhead>(hn::CappedTag<float, 8>(), a, b, out, n_k, n_columns, alpha);
    }
  }
}

// Vectors per row in a register tile: 6 x 4 + 4 + 1 registers of AVX-512's 32, 6 x 2 + 2 + 1 of the 16 of AVX2 and
// SSE4; with fewer rows more vectors, so that enough independent chains hide the latency of a multiply-add.
template <int kRows, class D>
constexpr int VectorsPerRow() {
  if (hn::MaxLanes(D()) == 16) return 4;
  return kRows == 1 ? 8 : kRows == 2 ? 4 : 2;
}

inline constexpr int64_t kProductRows = 6;  // rows of a full register tile

// out [n_rows, n_columns] from a [n_rows, n_k] and b [n_k, n_columns]; n_columns is a multiple of 8. Each element's
// chain is its own, so neither the register tiling nor the other rows change its bits. `alpha` is read by
// Merge::rescale only.
template <Merge kMerge, class L, class R>
HWY_NOINLINE void Product(int64_t n_rows, LeftMatrix<L> a, RightMatrix<R> b, OutMatrix<> out, int64_t n_k,
                          int64_t n_columns, const float* alpha = nullptr) {
  using D = hn::CappedTag<float, 16>;
  const auto skip_rows = [&](int64_t n) {
    n_rows -= n;
    a.data += n * a.row_step;
    out.data += n * out.row_step;
    if (kMerge == Merge::rescale) alpha += n;
  };
  for (; n_rows >= kProductRows; skip_rows(kProductRows)) {
    ProductRows<kMerge, kProductRows, VectorsPerRow<kProductRows, D>()>(D(), a, b, out, n_k, n_columns, alpha);
  }
  const auto rest = [&]<int kRows>(std::integral_constant<int, kRows>) HWY_ATTR {
    if (n_rows < kRows) return;
    constexpr int kVecs = VectorsPerRow<kRows, D>();
    if (kMerge != Merge::extend && b.ahead != 0) {
      ProductRows<kMerge, kRows, kVecs, true>(D(), a, b, out, n_k, n_columns, alpha);
    } else {
      ProductRows<kMerge, kRows, kVecs>(D(), a, b, out, n_k, n_columns, alpha);
    }
    skip_rows(kRows);
  };
  rest(std::integral_constant<int, 4>());
  rest(std::integral_constant<int, 2>());
  rest(std::integral_constant<int, 1>());
}

// Which of the lanes j, j + 1, ... of a vector lie in [range.begin, range.end).
template <class D, class Range>
HWY_INLINE hn::Mask<D> LanesIn(D d, int64_t j, Range range) {
  const auto before = [&](int64_t end) { return hn::FirstN(d, static_cast<size_t>(std::max<int64_t>(0, end - j))); };
  return hn::AndNot(before(range.begin), before(range.end));
}

// Weights for the next product, rounded to its operands' type. No subnormals.
template <class D>
HWY_INLINE void StoreWeights(D d, hn::Vec<D> x, float* to) {
  hn::Store(x, d, to);
}
template <class D>
HWY_INLINE void StoreWeights(D d, hn::Vec<D> x, BFloat16* to) {
#if HWY_TARGET == HWY_AVX3_DL
  hn::Vec<Bits16<D>> bits;
  asm("vcvtneps2bf16 %1, %0" : "=v"(bits.raw) : "v"(x.raw));
  hn::Store(bits, Bits16<D>(), reinterpret_cast<uint16_t*>(to));
  static_cast<void>(d);
#else
  StoreFloats(d, x, to);
#endif
}

// Asks for the n numbers from `row` on, for use soon.
template <class T>
HWY_INLINE void PrefetchRow(const T* row, int64_t n) {
  constexpr int64_t kLine = 64 / sizeof(T);
  for (int64_t i = 0; i < n; i += kLine) hwy::Prefetch(row + i);
}

// to[c][r] = from[r][c] for r < n_rows, c < n_columns (a multiple of 4).
template <class From, class To>
HWY_INLINE void Transpose(RightMatrix<From> from, int64_t n_rows, int64_t n_columns, OutMatrix<To> to) {
  const hn::FixedTag<float, 4> d;
  int64_t r = 0;
  for (; r + 4 <= n_rows; r += 4) {
    for (int64_t c = 0; c < n_columns; c += 4) {
      const From* source = from.data + r * from.step + c;
      const auto row0 = LoadLanes(d, source), row1 = LoadLanes(d, source + from.step);
      const auto row2 = LoadLanes(d, source + 2 * from.step), row3 = LoadLanes(d, source + 3 * from.step);
      const auto low02 = hn::InterleaveLower(d, row0, row2), low13 = hn::InterleaveLower(d, row1, row3);
      const auto high02 = hn::InterleaveUpper(d, row0, row2), high13 = hn::InterleaveUpper(d, row1, row3);
      To* target = to.data + c * to.row_step + r;
      StoreLanes(d, hn::InterleaveLower(d, low02, low13), target);
      StoreLanes(d, hn::InterleaveUpper(d, low02, low13), target + to.row_step);
      StoreLanes(d, hn::InterleaveLower(d, high02, high13), target + 2 * to.row_step);
      StoreLanes(d, hn::InterleaveUpper(d, high02, high13), target + 3 * to.row_step);
    }
  }
  const hn::FixedTag<float, 1> d1;
  for (; r < n_rows; ++r) {
    for (int64_t c = 0; c < n_columns; ++c) {
      StoreLanes(d1, LoadLanes(d1, from.data + r * from.step + c), to.data + c * to.row_step + r);
    }
  }
}

// to[c] = {even[c], odd[c]} for c < n_columns, a multiple of 8. A row that is null counts as zeros.
HWY_INLINE void InterleaveRows(const BFloat16* even, const BFloat16* odd, int64_t n_columns, Bf16Pair* to) {
  const hn::FixedTag<uint16_t, 8> d;
  const auto load = [&](const BFloat16* row, int64_t c) HWY_ATTR {
    return row == nullptr ? hn::Zero(d) : hn::LoadU(d, reinterpret_cast<const uint16_t*>(row + c));
  };
  for (int64_t c = 0; c < n_columns; c += 8) {
    const auto low = load(even, c), high = load(odd, c);
    uint16_t* target = reinterpret_cast<uint16_t*>(to + c);
    hn::StoreU(hn::InterleaveLower(d, low, high), d, target);
    hn::StoreU(hn::InterleaveUpper(d, low, high), d, target + 8);
  }
}

// v [D] as the value of a slot. Halves of pairs are written alone: another thread may store the other one.
template <class T>
HWY_INLINE void StoreValue(const T* v, int64_t D, int64_t slot, T* values) {
  std::copy_n(v, D, values + slot * D);
}
HWY_INLINE void StoreValue(const BFloat16* v, int64_t D, int64_t slot, Bf16Pair* values) {
  Bf16Pair* pairs = values + slot / 2 * D;
  for (int64_t d = 0; d < D; ++d) (slot % 2 == 0 ? pairs[d].even : pairs[d].odd) = v[d].bits;
}

}  // namespace gradus::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
