// Forward attention and the filling of pages; see gradus/kernels/attention.h for what is computed in which order.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gradus/kernels/cpu/attention_forward.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "gradus/core/thread_pool.h"
#include "gradus/kernels/cpu/attention.h"
#include "gradus/kernels/cpu/math-inl.h"
#include "gradus/kernels/cpu/row_products-inl.h"

#ifndef GRADUS_KERNELS_CPU_ATTENTION_FORWARD_ONCE
#define GRADUS_KERNELS_CPU_ATTENTION_FORWARD_ONCE

namespace gradus::kernels::cpu {

// Query rows of one tile, a pair (row, head of the group) each: four register tiles of six. Their scores (6 KiB) and
// sums stay in the L1 cache beside one page of keys or values.
constexpr int64_t kTileRows = 24;
constexpr int64_t kTileLanes = 32;  // kTileRows, rounded up to whole vectors

struct ForwardProblem {
  int64_t H, G, D;
  float c;
  const float *q, *keys, *values;
  const AttentionLayout& layout;
  const int64_t* first_tile;  // [n_sequences + 1]: tiles before sequence s
  float *o, *lse;
};

struct StoreProblem {
  int64_t G, D;
  const float *k, *v;
  const AttentionLayout& layout;
  float *keys, *values;
};

inline int64_t tiles_of(int64_t rows, int64_t group) {
  return (rows * group + kTileRows - 1) / kTileRows;
}

}  // namespace gradus::kernels::cpu

#endif

HWY_BEFORE_NAMESPACE();
namespace gradus::kernels::HWY_NAMESPACE {

using cpu::ForwardProblem;
using cpu::kTileLanes;
using cpu::kTileRows;

constexpr int64_t B = kKeyBlock;
using DF = Lanes16::D;
constexpr int64_t kLanes = hn::MaxLanes(DF());

// s[j] = c s[j] for j < visible, -inf for the other slots; the largest of them.
HWY_INLINE float ScaleAndMask(float* HWY_RESTRICT s, int64_t slots, int64_t visible, float c) {
  const DF d;
  const auto masked = hn::Set(d, -std::numeric_limits<float>::infinity());
  auto largest = masked;
  for (int64_t j = 0; j < slots; j += kLanes) {
    auto x = hn::Mul(hn::Load(d, s + j), hn::Set(d, c));
    if (j + kLanes > visible) {
      x = hn::IfThenElse(hn::FirstN(d, static_cast<size_t>(std::max<int64_t>(0, visible - j))), x, masked);
    }
    largest = hn::Max(largest, x);
    hn::Store(x, d, s + j);
  }
  return hn::GetLane(hn::MaxOfLanes(d, largest));
}

// s[j] = exp(s[j] - m); their sum.
HWY_INLINE float ExpAndSum(float* HWY_RESTRICT s, int64_t slots, float m) {
  const DF d;
  Lanes16 sum = Lanes16::Zero();
  for (int64_t j = 0; j < slots; j += 16) {
#pragma GCC unroll 4
    for (size_t i = 0; i < Lanes16::kVectors; ++i) {
      float* at = s + j + static_cast<int64_t>(i) * kLanes;
      const auto e = ExpUpTo88(d, hn::Sub(hn::Load(d, at), hn::Set(d, m)));
      hn::Store(e, d, at);
      sum.v[i] = hn::Add(sum.v[i], e);
    }
  }
  return sum.Sum();
}

// The running softmax of a tile's rows.
struct Tile {
  HWY_ALIGN float q[kTileRows * kMaxHeadSize];
  HWY_ALIGN float u[kTileRows * kMaxHeadSize];
  HWY_ALIGN float s[kTileRows * B];
  HWY_ALIGN float m[kTileLanes], m2[kTileLanes], l[kTileLanes], sum[kTileLanes], alpha[kTileLanes];
  int64_t position[kTileRows];
};

// One page for the rows [first, n) of a tile; rows before `first` see nothing of it.
struct Page {
  const float *keys, *values;  // [D, 64], [64, D]
  int64_t base;                // position of slot 0
};

// 1. s = q K, m' and e. A register tile of rows visits the slots up to its last row's own, rounded up to 16.
HWY_INLINE void BlockWeights(const ForwardProblem& f, const Page& page, int64_t first, int64_t n, Tile& t) {
  for (int64_t r = first; r < n; r += kProductRows) {
    const int64_t end = std::min(r + kProductRows, n);
    const int64_t slots = (std::min(B, t.position[end - 1] - page.base + 1) + 15) / 16 * 16;
    Product<Merge::store>(end - r, {t.q + r * f.D, f.D, 1}, {page.keys, B}, {t.s + r * B, B}, f.D, slots);
    for (int64_t i = r; i < end; ++i) {
      t.m2[i] = std::max(t.m[i], ScaleAndMask(t.s + i * B, slots, t.position[i] - page.base + 1, f.c));
    }
    for (int64_t i = r; i < end; ++i) t.sum[i] = ExpAndSum(t.s + i * B, slots, t.m2[i]);
  }
}

// 2. alpha, l and m. Lanes of rows before `first` have m' = m and a sum of 0, which changes nothing.
HWY_INLINE void BlockRescale(int64_t n, Tile& t) {
  const DF d;
  for (int64_t i = 0; i < n; i += kLanes) {
    const auto m2 = hn::Load(d, t.m2 + i);
    const auto alpha = ExpUpTo88(d, hn::Sub(hn::Load(d, t.m + i), m2));
    hn::Store(alpha, d, t.alpha + i);
    hn::Store(hn::MulAdd(hn::Load(d, t.l + i), alpha, hn::Load(d, t.sum + i)), d, t.l + i);
    hn::Store(m2, d, t.m + i);
    hn::Store(hn::Zero(d), d, t.sum + i);
  }
}

// 3. u = u alpha + e V. A chain ends at its register tile's last visible slot: what lies beyond may not be a number.
HWY_INLINE void BlockValues(const ForwardProblem& f, const Page& page, int64_t first, int64_t n, Tile& t) {
  for (int64_t r = first; r < n; r += kProductRows) {
    const int64_t end = std::min(r + kProductRows, n), slots = std::min(B, t.position[end - 1] - page.base + 1);
    Product<Merge::rescale>(end - r, {t.s + r * B, B, 1}, {page.values, f.D}, {t.u + r * f.D, f.D}, slots, f.D,
                            t.alpha + r);
  }
}

// o = u / l + 0 and lse = m + log(l) of row i.
HWY_INLINE void FinishRow(const Tile& t, int64_t i, int64_t D, float* HWY_RESTRICT o, float& lse) {
  const hn::CappedTag<float, 8> d;
  if (t.position[i] < 0) {
    std::fill_n(o, D, 0.0f);
    lse = -std::numeric_limits<float>::infinity();
    return;
  }
  for (int64_t k = 0; k < D; k += static_cast<int64_t>(hn::MaxLanes(d))) {
    hn::StoreU(hn::Add(hn::Div(hn::LoadU(d, t.u + i * D + k), hn::Set(d, t.l[i])), hn::Zero(d)), d, o + k);
  }
  lse = t.m[i] + std::log(t.l[i]);
}

// Tile `index` of sequence `sequence` and key/value head g. Its rows are pairs (row, head of the group), heads
// innermost.
void ForwardTile(const ForwardProblem& f, int64_t sequence, int64_t g, int64_t index) {
  const int64_t H = f.H, D = f.D, group = H / f.G;
  const int64_t row0 = f.layout.row_offsets[sequence], begin = index * kTileRows;
  const int64_t n = std::min(kTileRows, (f.layout.row_offsets[sequence + 1] - row0) * group - begin);
  const auto head_row = [&](int64_t i) { return (row0 + (begin + i) / group) * H + g * group + (begin + i) % group; };

  // Queries side by side, so that every product has one row step.
  Tile t;
  for (int64_t i = 0; i < n; ++i) {
    std::copy_n(f.q + head_row(i) * D, D, t.q + i * D);
    t.position[i] = f.layout.key_positions[row0 + (begin + i) / group];
  }
  std::fill_n(t.u, n * D, 0.0f);
  std::fill_n(t.l, kTileLanes, 0.0f);
  std::fill_n(t.sum, kTileLanes, 0.0f);
  std::fill_n(t.m, kTileLanes, -std::numeric_limits<float>::infinity());
  std::fill_n(t.m2, kTileLanes, -std::numeric_limits<float>::infinity());

  // Blocks of keys, ascending. Rows are ascending too, so those that see the block are a tail of the tile.
  int64_t first = 0;
  for (int64_t base = 0; base <= t.position[n - 1]; base += B) {
    while (t.position[first] < base) ++first;
    const int64_t page = (f.layout.block_table[sequence * f.layout.max_blocks + base / B] * f.G + g) * D * B;
    const Page p{.keys = f.keys + page, .values = f.values + page, .base = base};
    BlockWeights(f, p, first, n, t);
    BlockRescale(n, t);
    BlockValues(f, p, first, n, t);
  }
  for (int64_t i = 0; i < n; ++i) FinishRow(t, i, D, f.o + head_row(i) * D, f.lse[head_row(i)]);
}

// Tiles [begin, end) of all, in the order sequence, key/value head, row.
void ForwardTiles(const ForwardProblem& f, int64_t begin, int64_t end) {
  int64_t sequence =
      std::upper_bound(f.first_tile, f.first_tile + f.layout.n_sequences() + 1, begin) - f.first_tile - 1;
  for (int64_t tile = begin; tile < end; ++tile) {
    while (tile >= f.first_tile[sequence + 1]) ++sequence;
    const int64_t per_head = (f.first_tile[sequence + 1] - f.first_tile[sequence]) / f.G;
    const int64_t inside = tile - f.first_tile[sequence];
    ForwardTile(f, sequence, inside / per_head, inside % per_head);
  }
}

// Rows [begin, end) of the batch into their pages: runs of rows that share a page are transposed at once.
void StoreRows(const cpu::StoreProblem& f, int64_t begin, int64_t end) {
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
      const int64_t from = (r * f.G + g) * f.D;
      Transpose({f.k + from, f.G * f.D}, n, f.D, {f.keys + page + slot, B});
      for (int64_t i = 0; i < n; ++i) {
        std::copy_n(f.v + from + i * f.G * f.D, f.D, f.values + page + (slot + i) * f.D);
      }
    }
    r += n;
  }
}

}  // namespace gradus::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradus::kernels {
HWY_EXPORT(ForwardTiles);
HWY_EXPORT(StoreRows);
}  // namespace gradus::kernels

namespace gradus::kernels::cpu {

void store_keys_values(const Tensor& k, const Tensor& v, const AttentionLayout& layout, const AttentionShape& shape,
                       KeyValuePages& pages) {
  const StoreProblem f{.G = shape.kv_heads,
                       .D = shape.head_size,
                       .k = k.data<float>(),
                       .v = v.data<float>(),
                       .layout = layout,
                       .keys = pages.keys.data<float>(),
                       .values = pages.values.data<float>()};
  const auto store_rows = HWY_DYNAMIC_DISPATCH(StoreRows);
  parallel_ranges(k.dim(0), kKeyBlock, [&](int64_t begin, int64_t end) { store_rows(f, begin, end); });
}

void attention_forward(const Tensor& q, const KeyValuePages& pages, const AttentionLayout& layout,
                       const AttentionShape& shape, Tensor& o, Tensor& lse) {
  const int64_t n_sequences = layout.n_sequences(), H = shape.heads, G = shape.kv_heads, D = shape.head_size;
  thread_local std::vector<int64_t> first_tile;  // keeps its capacity: nothing is allocated in the steady state
  first_tile.assign(static_cast<size_t>(n_sequences) + 1, 0);
  int64_t work = 0;  // multiply-adds
  for (int64_t s = 0; s < n_sequences; ++s) {
    const int64_t rows = layout.row_offsets[s + 1] - layout.row_offsets[s];
    first_tile[s + 1] = first_tile[s] + G * tiles_of(rows, H / G);
    if (rows > 0) work += rows * (layout.key_positions[layout.row_offsets[s]] + 1 + rows / 2) * 2 * D * H;
  }
  const int64_t n_tiles = first_tile.back();
  if (n_tiles == 0) return;

  const ForwardProblem f{.H = H,
                         .G = G,
                         .D = D,
                         .c = static_cast<float>(shape.scale),
                         .q = q.data<float>(),
                         .keys = pages.keys.data<float>(),
                         .values = pages.values.data<float>(),
                         .layout = layout,
                         .first_tile = first_tile.data(),
                         .o = o.data<float>(),
                         .lse = lse.data<float>()};
  constexpr int64_t kTaskWork = 1 << 16;  // about 2 us, far above the cost of handing a task to a thread
  const int64_t tiles_per_task = std::clamp<int64_t>(kTaskWork / std::max<int64_t>(1, work / n_tiles), 1, n_tiles);
  const auto forward_tiles = HWY_DYNAMIC_DISPATCH(ForwardTiles);
  parallel_ranges(n_tiles, tiles_per_task, [&](int64_t begin, int64_t end) { forward_tiles(f, begin, end); });
}

}  // namespace gradus::kernels::cpu
#endif
