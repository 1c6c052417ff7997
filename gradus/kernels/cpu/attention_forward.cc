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
  const AttentionShape& shape;
  const float *q, *keys, *values;  // the last two: pages
  const AttentionLayout& layout;
  float *o, *lse;
  const int64_t* first_tile = nullptr;  // [n_sequences + 1]: tiles before sequence s
  // A tree's rows, or all null.
  const AttentionTree* tree = nullptr;
  const float *tree_k = nullptr, *tree_v = nullptr;
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

// s[j] = c s[j] for the visible slots, -inf for the others of [begin, end), multiples of 16; the largest of them.
HWY_INLINE float ScaleAndMask(float* HWY_RESTRICT s, int64_t begin, int64_t end, KeyRange visible, float c) {
  const DF d;
  const auto masked = hn::Set(d, -std::numeric_limits<float>::infinity());
  auto largest = masked;
  for (int64_t j = begin; j < end; j += kLanes) {
    auto x = hn::Mul(hn::Load(d, s + j), hn::Set(d, c));
    if (j < visible.begin || j + kLanes > visible.end) x = hn::IfThenElse(LanesIn(d, j, visible), x, masked);
    largest = hn::Max(largest, x);
    hn::Store(x, d, s + j);
  }
  return hn::GetLane(hn::MaxOfLanes(d, largest));
}

// s[j] = exp(s[j] - m) for the slots [begin, end), multiples of 16; their sum.
HWY_INLINE float ExpAndSum(float* HWY_RESTRICT s, int64_t begin, int64_t end, float m) {
  const DF d;
  Lanes16 sum = Lanes16::Zero();
  for (int64_t j = begin; j < end; j += 16) {
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
  KeyRange visible[kTileRows];
};

// A page, and the rows [first, last) of a tile, which hold all that see something of it.
struct Page {
  const float *keys, *values;  // [D, 64], [64, D]
  int64_t base;                // position of slot 0
  int64_t first, last;

  // The slots that a row sees, and from the first to the last that any of the rows [begin, end) sees.
  KeyRange Slots(KeyRange visible) const {
    return {std::clamp<int64_t>(visible.begin - base, 0, B), std::clamp<int64_t>(visible.end - base, 0, B)};
  }
  KeyRange Slots(const Tile& t, int64_t begin, int64_t end) const {
    KeyRange all = t.visible[begin];
    for (int64_t i = begin + 1; i < end; ++i) {
      all = {std::min(all.begin, t.visible[i].begin), std::max(all.end, t.visible[i].end)};
    }
    return Slots(all);
  }
};

// 1. s = q K, m' and e. A register tile of rows visits the slots that any of them sees, rounded out to multiples of 16.
HWY_INLINE void BlockWeights(const ForwardProblem& f, const Page& page, Tile& t) {
  const float c = static_cast<float>(f.shape.scale);
  const int64_t D = f.shape.head_size;
  for (int64_t r = page.first; r < page.last; r += kProductRows) {
    const int64_t end_row = std::min(r + kProductRows, page.last);
    const KeyRange slots = page.Slots(t, r, end_row);
    const int64_t begin = slots.begin / 16 * 16, end = (slots.end + 15) / 16 * 16;
    Product<Merge::store>(end_row - r, {t.q + r * D, D, 1}, {page.keys + begin, B}, {t.s + r * B + begin, B}, D,
                          end - begin);
    for (int64_t i = r; i < end_row; ++i) {
      t.m2[i] = std::max(t.m[i], ScaleAndMask(t.s + i * B, begin, end, page.Slots(t.visible[i]), c));
    }
    for (int64_t i = r; i < end_row; ++i) t.sum[i] = ExpAndSum(t.s + i * B, begin, end, t.m2[i]);
  }
}

// 2. alpha, l and m. Rows that see nothing of the page have m' = m and a sum of 0, which changes nothing.
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

// 3. u = u alpha + e V. A chain goes over its register tile's visible slots: what lies outside may not be a number.
HWY_INLINE void BlockValues(const ForwardProblem& f, const Page& page, Tile& t) {
  const int64_t D = f.shape.head_size;
  for (int64_t r = page.first; r < page.last; r += kProductRows) {
    const int64_t end_row = std::min(r + kProductRows, page.last);
    const auto [begin, end] = page.Slots(t, r, end_row);
    Product<Merge::rescale>(end_row - r, {t.s + r * B + begin, B, 1}, {page.values + begin * D, D}, {t.u + r * D, D},
                            end - begin, D, t.alpha + r);
  }
}

HWY_INLINE void VisitPage(const ForwardProblem& f, const Page& page, int64_t n, Tile& t) {
  BlockWeights(f, page, t);
  BlockRescale(n, t);
  BlockValues(f, page, t);
}

// o = u / l + 0 and lse = m + log(l) of row i.
HWY_INLINE void FinishRow(const Tile& t, int64_t i, int64_t D, float* HWY_RESTRICT o, float& lse) {
  const hn::CappedTag<float, 8> d;
  if (t.visible[i].begin == t.visible[i].end) {
    std::fill_n(o, D, 0.0f);
    lse = -std::numeric_limits<float>::infinity();
    return;
  }
  for (int64_t k = 0; k < D; k += static_cast<int64_t>(hn::MaxLanes(d))) {
    hn::StoreU(hn::Add(hn::Div(hn::LoadU(d, t.u + i * D + k), hn::Set(d, t.l[i])), hn::Zero(d)), d, o + k);
  }
  lse = t.m[i] + std::log(t.l[i]);
}

// The pairs (row, head of the group) of one tile: i counts pairs, heads innermost.
struct TileRows {
  int64_t sequence, g, row0, begin, n, H, group;

  int64_t Row(int64_t i) const { return row0 + (begin + i) / group; }
  int64_t HeadRow(int64_t i) const { return Row(i) * H + g * group + (begin + i) % group; }
};

HWY_INLINE void StartTile(const ForwardProblem& f, const TileRows& rows, Tile& t) {
  const int64_t D = f.shape.head_size;
  // Queries side by side, so that every product has one row step.
  for (int64_t i = 0; i < rows.n; ++i) std::copy_n(f.q + rows.HeadRow(i) * D, D, t.q + i * D);
  std::fill_n(t.u, rows.n * D, 0.0f);
  std::fill_n(t.l, kTileLanes, 0.0f);
  std::fill_n(t.sum, kTileLanes, 0.0f);
  std::fill_n(t.m, kTileLanes, std::numeric_limits<float>::lowest());
  std::fill_n(t.m2, kTileLanes, std::numeric_limits<float>::lowest());
}

// Where the page of the tile's key/value head with position `base` begins in keys and values.
HWY_INLINE int64_t PageStart(const ForwardProblem& f, const TileRows& rows, int64_t base) {
  const int64_t page = f.layout.block_table[rows.sequence * f.layout.max_blocks + base / B];
  return (page * f.shape.kv_heads + rows.g) * f.shape.head_size * B;
}

// The stored pages up to position `end`, in blocks, ascending. Those that see nothing of a page are rows at the start
// or the end of the tile, where the rows are those of one sequence; in a tree all see the stored keys, but for windows.
HWY_INLINE void VisitStoredPages(const ForwardProblem& f, const TileRows& rows, int64_t end, Tile& t) {
  const int64_t n = rows.n;
  int64_t first = 0, begin = t.visible[0].begin;
  for (int64_t i = 1; i < n; ++i) begin = std::min(begin, t.visible[i].begin);
  for (int64_t base = begin / B * B; base < end; base += B) {
    int64_t last = n;
    while (first < n && t.visible[first].end <= base) ++first;
    while (last > first && t.visible[last - 1].begin >= base + B) --last;
    const int64_t page = PageStart(f, rows, base);
    VisitPage(f, {.keys = f.keys + page, .values = f.values + page, .base = base, .first = first, .last = last}, n, t);
  }
}

// A page of keys and values that is put together for one path of a tree.
struct PathPage {
  HWY_ALIGN float keys[kMaxHeadSize * B];
  HWY_ALIGN float values[kMaxHeadSize * B];
};

// The last stored page's first `n` slots.
HWY_INLINE void CopyPrefixEnd(const ForwardProblem& f, const TileRows& rows, int64_t base, int64_t n, PathPage& to) {
  const int64_t D = f.shape.head_size;
  const int64_t page = PageStart(f, rows, base);
  for (int64_t d = 0; d < D; ++d) std::copy_n(f.keys + page + d * B, n, to.keys + d * B);
  std::copy_n(f.values + page, n * D, to.values);
}

// The pages of the tile's own paths. Every row of the tree sees other keys there, so rows go one by one (a row's heads
// together); the keys stand at their true positions, as they would if the path were the sequence.
void VisitPaths(const ForwardProblem& f, const TileRows& rows, Tile& t) {
  const int64_t D = f.shape.head_size, prefix = f.tree->prefix_lengths[rows.sequence];
  const int64_t first_base = prefix / B * B;
  PathPage own;
  for (int64_t i = 0; i < rows.n;) {
    int64_t last = i + 1;
    while (last < rows.n && rows.Row(last) == rows.Row(i)) ++last;
    int32_t path[kMaxTreeNodes];  // rows from the prefix down to this one
    const int64_t depth = t.visible[i].end - prefix;
    int64_t node = rows.Row(i) - rows.row0;
    for (int64_t k = depth - 1; k >= 0; --k, node = f.tree->parents[rows.row0 + node])
      path[k] = static_cast<int32_t>(node);

    const KeyRange visible = t.visible[i];
    for (int64_t base = std::max(first_base, visible.begin / B * B); base < visible.end; base += B) {
      if (base < prefix) CopyPrefixEnd(f, rows, base, prefix - base, own);
      for (int64_t position = std::max(base, prefix); position < std::min(base + B, visible.end); ++position) {
        const int64_t at = ((rows.row0 + path[position - prefix]) * f.shape.kv_heads + rows.g) * D,
                      slot = position - base;
        for (int64_t d = 0; d < D; ++d) own.keys[d * B + slot] = f.tree_k[at + d];
        std::copy_n(f.tree_v + at, D, own.values + slot * D);
      }
      VisitPage(f, {.keys = own.keys, .values = own.values, .base = base, .first = i, .last = last}, rows.n, t);
    }
    i = last;
  }
}

// Tile `index` of sequence `sequence` and key/value head g.
void ForwardTile(const ForwardProblem& f, int64_t sequence, int64_t g, int64_t index) {
  const int64_t H = f.shape.heads, D = f.shape.head_size, group = H / f.shape.kv_heads;
  const int64_t row0 = f.layout.row_offsets[sequence], begin = index * kTileRows;
  const int64_t n = std::min(kTileRows, (f.layout.row_offsets[sequence + 1] - row0) * group - begin);
  const TileRows rows{.sequence = sequence, .g = g, .row0 = row0, .begin = begin, .n = n, .H = H, .group = group};
  Tile t;
  StartTile(f, rows, t);
  if (f.tree != nullptr) {
    const int64_t prefix = f.tree->prefix_lengths[sequence];
    for (int64_t i = 0; i < n; ++i) {
      int64_t depth = 0;
      for (int64_t node = rows.Row(i) - row0; node >= 0; node = f.tree->parents[row0 + node]) ++depth;
      t.visible[i] = visible_keys(f.shape, prefix + depth - 1, prefix + depth);
    }
    VisitStoredPages(f, rows, prefix / B * B, t);
    VisitPaths(f, rows, t);
  } else {
    const int64_t n_keys = f.layout.n_keys(sequence);
    for (int64_t i = 0; i < n; ++i) t.visible[i] = visible_keys(f.shape, f.layout.key_positions[rows.Row(i)], n_keys);
    VisitStoredPages(f, rows, t.visible[n - 1].end, t);
  }
  for (int64_t i = 0; i < n; ++i) FinishRow(t, i, D, f.o + rows.HeadRow(i) * D, f.lse[rows.HeadRow(i)]);
}

// Tiles [begin, end) of all, in the order sequence, key/value head, row.
void ForwardTiles(const ForwardProblem& f, int64_t begin, int64_t end) {
  int64_t sequence =
      std::upper_bound(f.first_tile, f.first_tile + f.layout.n_sequences() + 1, begin) - f.first_tile - 1;
  for (int64_t tile = begin; tile < end; ++tile) {
    while (tile >= f.first_tile[sequence + 1]) ++sequence;
    const int64_t per_head = (f.first_tile[sequence + 1] - f.first_tile[sequence]) / f.shape.kv_heads;
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

int64_t forward_scratch_bytes() {
  return sizeof(HWY_NAMESPACE::Tile) + sizeof(HWY_NAMESPACE::PathPage);
}

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

namespace {

ForwardProblem problem(const Tensor& q, const KeyValuePages& pages, const AttentionLayout& layout,
                       const AttentionShape& shape, Tensor& o, Tensor& lse) {
  return {.shape = shape,
          .q = q.data<float>(),
          .keys = pages.keys.data<float>(),
          .values = pages.values.data<float>(),
          .layout = layout,
          .o = o.data<float>(),
          .lse = lse.data<float>()};
}

// Cuts the rows into tiles and runs them; `visible_pairs` is the number of (row, key) pairs that count, for the size of
// a task.
void run_tiles(ForwardProblem f, int64_t visible_pairs) {
  const int64_t n_sequences = f.layout.n_sequences(), G = f.shape.kv_heads, group = f.shape.heads / G;
  thread_local std::vector<int64_t> first_tile;  // keeps its capacity: nothing is allocated in the steady state
  first_tile.assign(static_cast<size_t>(n_sequences) + 1, 0);
  for (int64_t s = 0; s < n_sequences; ++s) {
    first_tile[s + 1] = first_tile[s] + G * tiles_of(f.layout.row_offsets[s + 1] - f.layout.row_offsets[s], group);
  }
  const int64_t n_tiles = first_tile.back();
  if (n_tiles == 0) return;
  f.first_tile = first_tile.data();
  constexpr int64_t kTaskWork = 1 << 16;  // multiply-adds: about 2 us, far above the cost of handing a task to a thread
  const int64_t work = visible_pairs * 2 * f.shape.head_size * f.shape.heads;
  const int64_t tiles_per_task = std::clamp<int64_t>(kTaskWork / std::max<int64_t>(1, work / n_tiles), 1, n_tiles);
  const auto forward_tiles = HWY_DYNAMIC_DISPATCH(ForwardTiles);
  parallel_ranges(n_tiles, tiles_per_task, [&](int64_t begin, int64_t end) { forward_tiles(f, begin, end); });
}

}  // namespace

void attention_forward(const Tensor& q, const KeyValuePages& pages, const AttentionLayout& layout,
                       const AttentionShape& shape, Tensor& o, Tensor& lse) {
  int64_t pairs = 0;
  for (int64_t s = 0; s < layout.n_sequences(); ++s) {
    const int64_t begin = layout.row_offsets[s], end = layout.row_offsets[s + 1];
    if (begin == end) continue;
    const KeyRange middle = visible_keys(shape, layout.key_positions[(begin + end) / 2], layout.n_keys(s));
    pairs += (end - begin) * (middle.end - middle.begin);
  }
  run_tiles(problem(q, pages, layout, shape, o, lse), pairs);
}

void attention_tree(const Tensor& q, const Tensor& k, const Tensor& v, const KeyValuePages& pages,
                    const AttentionLayout& layout, const AttentionTree& tree, const AttentionShape& shape, Tensor& o,
                    Tensor& lse) {
  int64_t pairs = 0;
  for (int64_t s = 0; s < layout.n_sequences(); ++s) {
    pairs += (layout.row_offsets[s + 1] - layout.row_offsets[s]) * (tree.prefix_lengths[s] + kKeyBlock);
  }
  ForwardProblem f = problem(q, pages, layout, shape, o, lse);
  f.tree = &tree;
  f.tree_k = k.data<float>();
  f.tree_v = v.data<float>();
  run_tiles(f, pairs);
}

}  // namespace gradus::kernels::cpu
#endif
