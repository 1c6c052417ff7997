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
#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace gradus::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// a[r][k] = data[r * row_step + k * step];  b[k][n] = data[k * step + n];  out[r][n] = data[r * row_step + n].
struct LeftMatrix {
  const float* data;
  int64_t row_step, step;
};
struct RightMatrix {
  const float* data;
  int64_t step;
};
struct OutMatrix {
  float* data;
  int64_t row_step;
};

enum class Merge {
  store,    // out[r][n] = chain_k a[r][k] b[k][n], from 0, k ascending
  extend,   // the chain goes on from out[r][n]
  rescale,  // out[r][n] = out[r][n] * alpha[r] + the chain from 0
};

// kRows x kVecs accumulators that stay in registers for the whole chain.
template <Merge kMerge, int kRows, int kVecs, class D>
HWY_INLINE void ProductTile(D d, LeftMatrix a, RightMatrix b, OutMatrix out, int64_t n_k,
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
  const float* HWY_RESTRICT a_k = a.data;
  const float* HWY_RESTRICT b_k = b.data;
  for (int64_t k = 0; k < n_k; ++k, a_k += a.step, b_k += b.step) {
    V b_v[kVecs];
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) b_v[v] = hn::LoadU(d, b_k + v * N);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const V a_r = hn::Set(d, a_k[r * a.row_step]);
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v) sum[r][v] = hn::MulAdd(a_r, b_v[v], sum[r][v]);
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
template <Merge kMerge, int kRows, int kVecs, class D>
HWY_INLINE void ProductRows(D d, LeftMatrix a, RightMatrix b, OutMatrix out, int64_t n_k, int64_t n_columns,
                            const float* alpha) {
  constexpr int64_t kWidth = kVecs * static_cast<int64_t>(hn::MaxLanes(D()));
  for (; n_columns >= kWidth; n_columns -= kWidth, b.data += kWidth, out.data += kWidth) {
    ProductTile<kMerge, kRows, kVecs>(d, a, b, out, n_k, alpha);
  }
  if constexpr (kWidth > 8) {
    if (n_columns == 0) return;
    if constexpr (kVecs > 1) {
      ProductRows<kMerge, kRows, kVecs / 2>(d, a, b, out, n_k, n_columns, alpha);
    } else {
      ProductRows<kMerge, kRows, 1>(hn::CappedTag<float, 8>(), a, b, out, n_k, n_columns, alpha);
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
template <Merge kMerge>
HWY_NOINLINE void Product(int64_t n_rows, LeftMatrix a, RightMatrix b, OutMatrix out, int64_t n_k, int64_t n_columns,
                          const float* alpha = nullptr) {
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
  if (n_rows >= 4) {
    ProductRows<kMerge, 4, VectorsPerRow<4, D>()>(D(), a, b, out, n_k, n_columns, alpha);
    skip_rows(4);
  }
  if (n_rows >= 2) {
    ProductRows<kMerge, 2, VectorsPerRow<2, D>()>(D(), a, b, out, n_k, n_columns, alpha);
    skip_rows(2);
  }
  if (n_rows == 1) ProductRows<kMerge, 1, VectorsPerRow<1, D>()>(D(), a, b, out, n_k, n_columns, alpha);
}

// Which of the lanes j, j + 1, ... of a vector lie in [range.begin, range.end).
template <class D, class Range>
HWY_INLINE hn::Mask<D> LanesIn(D d, int64_t j, Range range) {
  const auto before = [&](int64_t end) { return hn::FirstN(d, static_cast<size_t>(std::max<int64_t>(0, end - j))); };
  return hn::AndNot(before(range.begin), before(range.end));
}

// Asks for the n floats from `row` on, for use soon.
HWY_INLINE void PrefetchRow(const float* row, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) hwy::Prefetch(row + i);
}

// to[c][r] = from[r][c] for r < n_rows, c < n_columns (a multiple of 4).
HWY_INLINE void Transpose(RightMatrix from, int64_t n_rows, int64_t n_columns, OutMatrix to) {
  const hn::FixedTag<float, 4> d;
  int64_t r = 0;
  for (; r + 4 <= n_rows; r += 4) {
    for (int64_t c = 0; c < n_columns; c += 4) {
      const float* source = from.data + r * from.step + c;
      const auto row0 = hn::LoadU(d, source), row1 = hn::LoadU(d, source + from.step);
      const auto row2 = hn::LoadU(d, source + 2 * from.step), row3 = hn::LoadU(d, source + 3 * from.step);
      const auto low02 = hn::InterleaveLower(d, row0, row2), low13 = hn::InterleaveLower(d, row1, row3);
      const auto high02 = hn::InterleaveUpper(d, row0, row2), high13 = hn::InterleaveUpper(d, row1, row3);
      float* target = to.data + c * to.row_step + r;
      hn::StoreU(hn::InterleaveLower(d, low02, low13), d, target);
      hn::StoreU(hn::InterleaveUpper(d, low02, low13), d, target + to.row_step);
      hn::StoreU(hn::InterleaveLower(d, high02, high13), d, target + 2 * to.row_step);
      hn::StoreU(hn::InterleaveUpper(d, high02, high13), d, target + 3 * to.row_step);
    }
  }
  for (; r < n_rows; ++r) {
    for (int64_t c = 0; c < n_columns; ++c) to.data[c * to.row_step + r] = from.data[r * from.step + c];
  }
}

}  // namespace gradus::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
