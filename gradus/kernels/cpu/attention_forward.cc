// Forward attention; see gradus/kernels/attention.h for what is computed in which order.
#define HWY_WANT_AVX3_DL  // the target with products of bf16 pairs
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gradus/kernels/cpu/attention_forward.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "gradus/core/thread_pool.h"
#include "gradus/kernels/cpu/attention.h"
#include "gradus/kernels/cpu/half-inl.h"
#include "gradus/kernels/cpu/math-inl.h"
#include "gradus/kernels/cpu/row_products-inl.h"
#include "gradus/kernels/flush_denormals.h"

#ifndef GRADUS_KERNELS_CPU_ATTENTION_FORWARD_ONCE
#define GRADUS_KERNELS_CPU_ATTENTION_FORWARD_ONCE

namespace gradus::kernels::cpu {

constexpr int64_t kTileLanes = kTileRows + 16;  // any 16 from a row of the tile on

template <class T>
struct ForwardProblem {
  const AttentionShape& shape;
  const T *q, *keys, *values;  // the last two: pages
  const AttentionLayout& layout;
  T* o;
  float* lse;
  const int64_t* first_tile = nullptr;  // [n_sequences + 1]: tiles before sequence s
  // A tree's rows, or all null.
  const AttentionTree* tree = nullptr;
  const T *tree_k = nullptr, *tree_v = nullptr;
};

inline int64_t tiles_of(int64_t rows, int64_t group) {
  return (rows * group + kTileRows - 1) / kTileRows;
}

}  // namespace gradus::kernels::cpu

#endif

HWY_BEFORE_NAMESPACE();
namespace gradus::kernels::HWY_NAMESPACE {
namespace {

using cpu::ForwardProblem;
using cpu::kTileLanes;
using cpu::kTileRows;

constexpr int64_t B = kKeyBlock;
using DF = Lanes16::D;
constexpr int64_t kLanes = hn::MaxLanes(DF());

// The exponential of a dtype: e_j = Exp(c r_j - m) for the chain r_j = dot(q, k_j). In bf16 all is in powers of 2: m
// and c too.
template <class T>
struct Weighting {
  static HWY_INLINE double Scale(double scale) { return scale; }
  template <class D, class V>
  static HWY_INLINE V Exp(D d, V x) {
    return ExpUpTo88(d, x);
  }
  template <class D, class V>
  static HWY_INLINE V ExpOfScore(D d, V r, V c, V m) {
    return Exp(d, hn::Sub(hn::Mul(r, c), m));
  }
  static HWY_INLINE float LogSumExp(float m, float l) { return m + std::log(l); }
};
template <>
struct Weighting<BFloat16> {
  static HWY_INLINE double Scale(double scale) { return scale * ref::Exp2Constants::kLog2E; }
  template <class D, class V>
  static HWY_INLINE V Exp(D d, V x) {
    return Exp2(d, x);
  }
  template <class D, class V>
  static HWY_INLINE V ExpOfScore(D d, V r, V c, V m) {
    return Exp(d, hn::MulSub(r, c, m));
  }
  static HWY_INLINE float LogSumExp(float m, float l) {
    return ref::MultiplyAdd()(m, ref::Exp2Constants::kLn2, std::log(l));
  }
};

// The running softmax of a tile's rows.
template <class T>
struct Tile {
  static constexpr int64_t kPair = Operands<T>::kPair;
  using Weight = std::conditional_t<kPair == 2, T, float>;  // e as the operand of e V

  HWY_ALIGN LeftOf<T> q[kTileRows * kMaxHeadSize / kPair];
  HWY_ALIGN float u[kTileRows * kMaxHeadSize];
  HWY_ALIGN float r[kTileRows * B];  // q K
  HWY_ALIGN Weight e[kTileRows * B];
  HWY_ALIGN float lanes[16 * 16];  // 16 lanes of maxima or sums of each of 16 rows
  HWY_ALIGN float m[kTileLanes], m2[kTileLanes], l[kTileLanes], sum[kTileLanes], alpha[kTileLanes];
  KeyRange visible[kTileRows];
  KeyRange slots[kTileRows];  // of the page: those that a row's register tile visits
  HWY_ALIGN RightOf<T> edge[kPair == 2 ? kMaxHeadSize * B / 2 : 1];  // values with the unseen halves of pairs zeroed
  float c;  // not negative: StartTile turns the sign of q instead
};

// To multiples of 16.
HWY_INLINE KeyRange RoundedOut(KeyRange slots) {
  return {slots.begin / 16 * 16, (slots.end + 15) / 16 * 16};
}

// A page, and the rows [first, last) of a tile, which hold all that see something of it.
template <class T>
struct Page {
  const RightOf<T>*keys, *values;  // [D, 64], [64, D]; pairs: [D / 2, 64], [32, D]
  int64_t base;                    // position of slot 0
  int64_t first, last;
  const RightOf<T>*next_keys = nullptr, *next_values = nullptr;  // of the page after it, if any
  KeyRange any = {}, all = {};  // the slots that some row sees (first to last), and those that all of them see

  bool whole() const { return all.begin == 0 && all.end == B; }
  // The slots that a row sees, and from the first to the last that any of the rows [begin, end) sees.
  KeyRange Slots(KeyRange visible) const {
    return {std::clamp<int64_t>(visible.begin - base, 0, B), std::clamp<int64_t>(visible.end - base, 0, B)};
  }
  KeyRange Slots(const Tile<T>& t, int64_t begin, int64_t end) const {
    KeyRange some = t.visible[begin];
    for (int64_t i = begin + 1; i < end; ++i) {
      some = {std::min(some.begin, t.visible[i].begin), std::max(some.end, t.visible[i].end)};
    }
    return Slots(some);
  }
};

// Calls body(i, n, slots) for runs of the page's rows [i, i + n) and the slots that they visit: all rows and slots if
// every row sees all, else a register tile of rows and the slots that some of it sees.
template <class T, class Body>
HWY_INLINE void ForRowTiles(const Page<T>& page, const Tile<T>& t, Body body) {
  if (page.whole()) return body(page.first, page.last - page.first, KeyRange{0, B});
  for (int64_t i = page.first; i < page.last; i += kProductRows) {
    const int64_t end = std::min(i + kProductRows, page.last);
    body(i, end - i, page.Slots(t, i, end));
  }
}

// 1. r = q K. Slots are rounded out to multiples of 16.
template <class T>
HWY_INLINE void BlockScores(const ForwardProblem<T>& f, const Page<T>& page, Tile<T>& t) {
  const int64_t n_k = f.shape.head_size / Tile<T>::kPair;
  ForRowTiles(page, t, [&](int64_t i, int64_t n, KeyRange some) {
    const KeyRange slots = RoundedOut(some);
    std::fill_n(t.slots + i, n, slots);
    Product<Merge::store>(n, LeftMatrix<LeftOf<T>>{t.q + i * n_k, n_k, 1},
                          RightMatrix<RightOf<T>>{page.keys + slots.begin, B, page.values - page.keys},
                          {t.r + i * B + slots.begin, B}, n_k, slots.end - slots.begin);
  });
}

// body(j, k, lanes) for the vectors of slots that row i's register tile visits: slot j, vector k of 16 lanes, and
// lanes(x, other) is x where the row sees a slot, `other` elsewhere.
template <class T, class Body>
HWY_INLINE void ForSlots(const Page<T>& page, const Tile<T>& t, int64_t i, Body body) {
  const DF d;
  const auto all = [](auto x, auto) HWY_ATTR { return x; };
  if (page.whole()) {
#pragma GCC unroll 16
    for (int64_t j = 0; j < B; j += kLanes) body(j, j / kLanes % Lanes16::kVectors, all);
    return;
  }
  const KeyRange visible = page.Slots(t.visible[i]), slots = t.slots[i];
  for (int64_t j = slots.begin; j < slots.end; j += kLanes) {
    const int64_t k = j / kLanes % Lanes16::kVectors;
    if (j >= visible.begin && j + kLanes <= visible.end) {
      body(j, k, all);
    } else {
      const auto seen = LanesIn(d, j, visible);
      body(j, k, [&](auto x, auto other) HWY_ATTR { return hn::IfThenElse(seen, x, other); });
    }
  }
}

// 2. m' = max(m, c max_j r_j).
template <class T>
HWY_INLINE void BlockMaxima(const Page<T>& page, Tile<T>& t) {
  const DF d;
  const auto none = hn::Set(d, -std::numeric_limits<float>::infinity());
  HWY_ALIGN float maxima[16];
  for (int64_t group = page.first; group < page.last; group += 16) {
    const int64_t n = std::min<int64_t>(16, page.last - group);
    for (int64_t i = 0; i < n; ++i) {
      Lanes16 largest;
      for (auto& v : largest.v) v = none;
      const float* r = t.r + (group + i) * B;
      ForSlots(page, t, group + i, [&](int64_t j, int64_t k, auto lanes) HWY_ATTR {
        largest.v[k] = hn::Max(largest.v[k], lanes(hn::Load(d, r + j), none));
      });
      largest.Store(t.lanes + i * 16);
    }
    ReduceRows<MaxOf>(n, t.lanes, maxima);
    std::fill(maxima + n, maxima + 16, -std::numeric_limits<float>::infinity());  // the others keep their m
    for (int64_t i = 0; i < 16; i += kLanes) {
      const auto m2 = hn::Max(hn::Mul(hn::Load(d, maxima + i), hn::Set(d, t.c)), hn::LoadU(d, t.m + group + i));
      hn::StoreU(m2, d, t.m2 + group + i);
    }
  }
}

// Asks for part i of n of the next page: long sequences come from memory, once per tile. Few rows ask in products.
template <class T>
HWY_INLINE void PrefetchNextPage(const Page<T>& page, int64_t D, int64_t i, int64_t n) {
  if (page.next_keys == nullptr || n <= 4) return;
  const int64_t part = (D * B * static_cast<int64_t>(sizeof(T)) / 64 + n - 1) / n * 64;  // in whole lines
  for (const auto* next : {page.next_keys, page.next_values}) {
    const char* from = reinterpret_cast<const char*>(next) + i * part;
    for (int64_t at = 0; at < part; at += 64) PrefetchToL2(from + at);
  }
}

// 3. e_j = Exp(c r_j - m') and their sum before they are rounded.
template <class T>
HWY_INLINE void BlockWeights(const ForwardProblem<T>& f, const Page<T>& page, Tile<T>& t) {
  const DF d;
  const auto zero = hn::Zero(d), c = hn::Set(d, t.c);
  for (int64_t group = page.first; group < page.last; group += 16) {
    const int64_t n = std::min<int64_t>(16, page.last - group);
    for (int64_t i = 0; i < n; ++i) {
      PrefetchNextPage(page, f.shape.head_size, group + i - page.first, page.last - page.first);
      Lanes16 sum = Lanes16::Zero();
      const float* r = t.r + (group + i) * B;
      auto* e = t.e + (group + i) * B;
      const auto m = hn::Set(d, t.m2[group + i]);
      ForSlots(page, t, group + i, [&](int64_t j, int64_t k, auto lanes) HWY_ATTR {
        const auto x = lanes(Weighting<T>::ExpOfScore(d, hn::Load(d, r + j), c, m), zero);
        StoreWeights(d, x, e + j);
        sum.v[k] = hn::Add(sum.v[k], x);
      });
      sum.Store(t.lanes + i * 16);
    }
    ReduceRows<SumOf>(n, t.lanes, t.sum + group);
    std::fill(t.sum + group + n, t.sum + group + 16, 0.0f);
  }
}

// 4. alpha, l and m. Rows that see nothing of the page have m' = m and a sum of 0, which changes nothing.
template <class T>
HWY_INLINE void BlockRescale(int64_t n, Tile<T>& t) {
  const DF d;
  for (int64_t i = 0; i < n; i += kLanes) {
    const auto m2 = hn::Load(d, t.m2 + i);
    const auto alpha = Weighting<T>::Exp(d, hn::Sub(hn::Load(d, t.m + i), m2));
    hn::Store(alpha, d, t.alpha + i);
    hn::Store(hn::MulAdd(hn::Load(d, t.l + i), alpha, hn::Load(d, t.sum + i)), d, t.l + i);
    hn::Store(m2, d, t.m + i);
    hn::Store(hn::Zero(d), d, t.sum + i);
  }
}

// The page's values. Of a pair of slots of which the tile sees one, the other may not be a number: there a copy of what
// is seen, with zeros in such halves.
template <class T>
HWY_INLINE const RightOf<T>* SeenValues(const Page<T>& page, int64_t D, Tile<T>& t) {
  if constexpr (Tile<T>::kPair == 2) {
    const auto [begin, end] = page.any;
    if (begin % 2 == 0 && end % 2 == 0) return page.values;
    std::copy(page.values + begin / 2 * D, page.values + (end + 1) / 2 * D, t.edge + begin / 2 * D);
    for (int64_t k = 0; k < D; ++k) {
      if (begin % 2 == 1) t.edge[begin / 2 * D + k].even = 0;
      if (end % 2 == 1) t.edge[end / 2 * D + k].odd = 0;
    }
    return t.edge;
  } else {
    return page.values;
  }
}

// 5. u = u alpha + e V. A chain goes over its register tile's visible slots: what lies outside may not be a number.
template <class T>
HWY_INLINE void BlockValues(const ForwardProblem<T>& f, const Page<T>& page, Tile<T>& t) {
  constexpr int64_t kPair = Tile<T>::kPair;
  const int64_t D = f.shape.head_size;
  const RightOf<T>* values = SeenValues(page, D, t);
  const int64_t ahead = page.next_keys == nullptr ? 0 : page.next_keys - values;
  ForRowTiles(page, t, [&](int64_t i, int64_t n, KeyRange slots) {
    const int64_t begin = slots.begin / kPair, end = (slots.end + kPair - 1) / kPair;
    Product<Merge::rescale>(n, LeftMatrix<LeftOf<T>>{AsOperands(t.e + i * B) + begin, B / kPair, 1},
                            RightMatrix<RightOf<T>>{values + begin * D, D, ahead}, {t.u + i * D, D}, end - begin, D,
                            t.alpha + i);
  });
}

template <class T>
HWY_INLINE void VisitPage(const ForwardProblem<T>& f, Page<T> page, int64_t n, Tile<T>& t) {
  page.any = page.all = t.visible[page.first];
  for (int64_t i = page.first + 1; i < page.last; ++i) {
    const KeyRange v = t.visible[i];
    page.any = {std::min(page.any.begin, v.begin), std::max(page.any.end, v.end)};
    page.all = {std::max(page.all.begin, v.begin), std::min(page.all.end, v.end)};
  }
  page.any = page.Slots(page.any);
  page.all = page.Slots(page.all);
  BlockScores(f, page, t);
  BlockMaxima(page, t);
  BlockWeights(f, page, t);
  BlockRescale(n, t);
  BlockValues(f, page, t);
}

// o = u / l + 0 and lse of row i.
template <class T>
HWY_INLINE void FinishRow(const Tile<T>& t, int64_t i, int64_t D, T* HWY_RESTRICT o, float& lse) {
  const hn::CappedTag<float, 8> d;
  if (t.visible[i].begin == t.visible[i].end) {
    std::fill_n(o, D, T{});
    lse = -std::numeric_limits<float>::infinity();
    return;
  }
  for (int64_t k = 0; k < D; k += static_cast<int64_t>(hn::MaxLanes(d))) {
    StoreFloats(d, hn::Add(hn::Div(hn::LoadU(d, t.u + i * D + k), hn::Set(d, t.l[i])), hn::Zero(d)), o + k);
  }
  lse = Weighting<T>::LogSumExp(t.m[i], t.l[i]);
}

// The pairs (row, head of the group) of one tile: i counts pairs, heads innermost.
struct TileRows {
  int64_t sequence, g, row0, begin, n, H, group;

  int64_t Row(int64_t i) const { return row0 + (begin + i) / group; }
  int64_t HeadRow(int64_t i) const { return Row(i) * H + g * group + (begin + i) % group; }
};

// A query as the left operand of products, its sign turned if `negate`.
template <class T>
HWY_INLINE void CopyQuery(const T* HWY_RESTRICT q, int64_t D, bool negate, LeftOf<T>* HWY_RESTRICT to) {
  const hn::CappedTag<float, 4> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const auto signs = hn::Set(du, !negate ? 0u : Operands<T>::kPair == 2 ? 0x80008000u : 0x80000000u);
  for (int64_t k = 0; k < D / Operands<T>::kPair; k += 4) {
    StoreLanes(d, hn::BitCast(d, hn::Xor(hn::BitCast(du, LoadLanes(d, AsOperands(q) + k)), signs)), to + k);
  }
}

template <class T>
HWY_INLINE void StartTile(const ForwardProblem<T>& f, const TileRows& rows, Tile<T>& t) {
  const int64_t D = f.shape.head_size;
  const float c = static_cast<float>(Weighting<T>::Scale(f.shape.scale));
  // Queries side by side, so that every product has one row step.
  for (int64_t i = 0; i < rows.n; ++i) {
    CopyQuery(f.q + rows.HeadRow(i) * D, D, c < 0, t.q + i * D / Tile<T>::kPair);
  }
  t.c = std::abs(c);
  std::fill_n(t.u, rows.n * D, 0.0f);
  std::fill_n(t.l, kTileLanes, 0.0f);
  std::fill_n(t.sum, kTileLanes, 0.0f);
  std::fill_n(t.m, kTileLanes, std::numeric_limits<float>::lowest());
  std::fill_n(t.m2, kTileLanes, std::numeric_limits<float>::lowest());
}

// The page of the tile's key/value head with position `base`, for no rows yet.
template <class T>
HWY_INLINE Page<T> StoredPage(const ForwardProblem<T>& f, const TileRows& rows, int64_t base) {
  const int64_t page = f.layout.block_table[rows.sequence * f.layout.max_blocks + base / B];
  const int64_t start = (page * f.shape.kv_heads + rows.g) * f.shape.head_size * B;
  return {
      .keys = AsOperands(f.keys + start), .values = AsOperands(f.values + start), .base = base, .first = 0, .last = 0};
}

// The stored pages up to position `end`, in blocks, ascending. Those that see nothing of a page are rows at the start
// or the end of the tile, where the rows are those of one sequence; in a tree all see the stored keys, but for windows.
template <class T>
HWY_INLINE void VisitStoredPages(const ForwardProblem<T>& f, const TileRows& rows, int64_t end, Tile<T>& t) {
  const int64_t n = rows.n;
  int64_t first = 0, begin = t.visible[0].begin;
  for (int64_t i = 1; i < n; ++i) begin = std::min(begin, t.visible[i].begin);
  for (int64_t base = begin / B * B; base < end; base += B) {
    int64_t last = n;
    while (first < n && t.visible[first].end <= base) ++first;
    while (last > first && t.visible[last - 1].begin >= base + B) --last;
    Page<T> page = StoredPage(f, rows, base);
    page.first = first;
    page.last = last;
    if (base + B < end) {
      const Page<T> next = StoredPage(f, rows, base + B);
      page.next_keys = next.keys;
      page.next_values = next.values;
    }
    VisitPage(f, page, n, t);
  }
}

// A page of keys and values that is put together for one path of a tree.
template <class T>
struct PathPage {
  static constexpr int64_t kPair = Operands<T>::kPair;
  HWY_ALIGN RightOf<T> keys[kMaxHeadSize * B / kPair];
  HWY_ALIGN RightOf<T> values[kMaxHeadSize * B / kPair];

  // The first n slots of a page (and the other half of a last pair).
  void CopySlots(const Page<T>& from, int64_t D, int64_t n) {
    for (int64_t d = 0; d < D / kPair; ++d) std::copy_n(from.keys + d * B, n, keys + d * B);
    std::copy_n(from.values, (n + kPair - 1) / kPair * D, values);
  }
  void PutSlot(const T* k, const T* v, int64_t D, int64_t slot) {
    for (int64_t d = 0; d < D / kPair; ++d) keys[d * B + slot] = AsOperands(k)[d];
    StoreValue(v, D, slot, values);
  }
};

// The pages of the tile's own paths. Every row of the tree sees other keys there, so rows go one by one (a row's heads
// together); the keys stand at their true positions, as they would if the path were the sequence.
template <class T>
void VisitPaths(const ForwardProblem<T>& f, const TileRows& rows, Tile<T>& t) {
  const int64_t D = f.shape.head_size, prefix = f.tree->prefix_lengths[rows.sequence];
  const int64_t first_base = prefix / B * B;
  PathPage<T> own;
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
      if (base < prefix) own.CopySlots(StoredPage(f, rows, base), D, prefix - base);
      for (int64_t position = std::max(base, prefix); position < std::min(base + B, visible.end); ++position) {
        const int64_t at = ((rows.row0 + path[position - prefix]) * f.shape.kv_heads + rows.g) * D;
        own.PutSlot(f.tree_k + at, f.tree_v + at, D, position - base);
      }
      VisitPage(f, {.keys = own.keys, .values = own.values, .base = base, .first = i, .last = last}, rows.n, t);
    }
    i = last;
  }
}

// Tile `index` of sequence `sequence` and key/value head g.
template <class T>
void ForwardTile(const ForwardProblem<T>& f, int64_t sequence, int64_t g, int64_t index) {
  const int64_t H = f.shape.heads, D = f.shape.head_size, group = H / f.shape.kv_heads;
  const int64_t row0 = f.layout.row_offsets[sequence], begin = index * kTileRows;
  const int64_t n = std::min(kTileRows, (f.layout.row_offsets[sequence + 1] - row0) * group - begin);
  const TileRows rows{.sequence = sequence, .g = g, .row0 = row0, .begin = begin, .n = n, .H = H, .group = group};
  Tile<T> t;
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
template <class T>
void ForwardTiles(const ForwardProblem<T>& f, int64_t begin, int64_t end) {
  int64_t sequence =
      std::upper_bound(f.first_tile, f.first_tile + f.layout.n_sequences() + 1, begin) - f.first_tile - 1;
  for (int64_t tile = begin; tile < end; ++tile) {
    while (tile >= f.first_tile[sequence + 1]) ++sequence;
    const int64_t per_head = (f.first_tile[sequence + 1] - f.first_tile[sequence]) / f.shape.kv_heads;
    const int64_t inside = tile - f.first_tile[sequence];
    ForwardTile(f, sequence, inside / per_head, inside % per_head);
  }
}

// Highway exports functions, not templates.
void ForwardF32(const ForwardProblem<float>& f, int64_t begin, int64_t end) {
  ForwardTiles(f, begin, end);
}
void ForwardBf16(const ForwardProblem<BFloat16>& f, int64_t begin, int64_t end) {
  ForwardTiles(f, begin, end);
}
void ForwardF16(const ForwardProblem<Float16>& f, int64_t begin, int64_t end) {
  ForwardTiles(f, begin, end);
}
}  // namespace
}  // namespace gradus::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradus::kernels {
HWY_EXPORT(ForwardF32);
HWY_EXPORT(ForwardBf16);
HWY_EXPORT(ForwardF16);
}  // namespace gradus::kernels

namespace gradus::kernels::cpu {

int64_t forward_scratch_bytes() {
  return sizeof(HWY_NAMESPACE::Tile<float>) + sizeof(HWY_NAMESPACE::PathPage<float>);  // the largest of all dtypes
}

namespace {

// The kernel of a dtype on the active instruction set.
template <class T>
auto forward_of() {
  if constexpr (std::is_same_v<T, float>) return HWY_DYNAMIC_DISPATCH(ForwardF32);
  if constexpr (std::is_same_v<T, BFloat16>) return HWY_DYNAMIC_DISPATCH(ForwardBf16);
  if constexpr (std::is_same_v<T, Float16>) return HWY_DYNAMIC_DISPATCH(ForwardF16);
}
template <class T>
ForwardProblem<T> problem(const Tensor& q, const KeyValuePages& pages, const AttentionLayout& layout,
                          const AttentionShape& shape, Tensor& o, Tensor& lse) {
  return {.shape = shape,
          .q = q.data<T>(),
          .keys = pages.keys.data<T>(),
          .values = pages.values.data<T>(),
          .layout = layout,
          .o = o.data<T>(),
          .lse = lse.data<float>()};
}

// Cuts the rows into tiles and runs them; `visible_pairs` is the number of (row, key) pairs that count, for the size of
// a task.
template <class T>
void run_tiles(ForwardProblem<T> f, int64_t visible_pairs) {
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
  const auto forward_tiles = forward_of<T>();
  parallel_ranges(n_tiles, tiles_per_task, [&](int64_t begin, int64_t end) {
    const FlushDenormals flush(kFlushes<T>);
    forward_tiles(f, begin, end);
  });
}

}  // namespace

template <class T>
void attention_forward(const Tensor& q, const KeyValuePages& pages, const AttentionLayout& layout,
                       const AttentionShape& shape, Tensor& o, Tensor& lse) {
  int64_t pairs = 0;
  for (int64_t s = 0; s < layout.n_sequences(); ++s) {
    const int64_t begin = layout.row_offsets[s], end = layout.row_offsets[s + 1];
    if (begin == end) continue;
    const KeyRange middle = visible_keys(shape, layout.key_positions[(begin + end) / 2], layout.n_keys(s));
    pairs += (end - begin) * (middle.end - middle.begin);
  }
  run_tiles(problem<T>(q, pages, layout, shape, o, lse), pairs);
}

template <class T>
void attention_tree(const Tensor& q, const Tensor& k, const Tensor& v, const KeyValuePages& pages,
                    const AttentionLayout& layout, const AttentionTree& tree, const AttentionShape& shape, Tensor& o,
                    Tensor& lse) {
  int64_t pairs = 0;
  for (int64_t s = 0; s < layout.n_sequences(); ++s) {
    pairs += (layout.row_offsets[s + 1] - layout.row_offsets[s]) * (tree.prefix_lengths[s] + kKeyBlock);
  }
  ForwardProblem<T> f = problem<T>(q, pages, layout, shape, o, lse);
  f.tree = &tree;
  f.tree_k = k.data<T>();
  f.tree_v = v.data<T>();
  run_tiles(f, pairs);
}

#define GRADUS_INSTANTIATE(T)                                                                                   \
  template void attention_forward<T>(const Tensor&, const KeyValuePages&, const AttentionLayout&,               \
                                     const AttentionShape&, Tensor&, Tensor&);                                  \
  template void attention_tree<T>(const Tensor&, const Tensor&, const Tensor&, const KeyValuePages&,            \
                                  const AttentionLayout&, const AttentionTree&, const AttentionShape&, Tensor&, \
                                  Tensor&);
GRADUS_INSTANTIATE(float)
GRADUS_INSTANTIATE(BFloat16)
GRADUS_INSTANTIATE(Float16)
#undef GRADUS_INSTANTIATE

}  // namespace gradus::kernels::cpu
#endif
