// Backward attention; see gradus/kernels/attention.h for what is computed in which order.
#define HWY_WANT_AVX3_DL  // the target with products of bf16 pairs
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gradus/kernels/cpu/attention_backward.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <type_traits>

#include "gradus/core/thread_pool.h"
#include "gradus/kernels/cpu/attention.h"
#include "gradus/kernels/cpu/half-inl.h"
#include "gradus/kernels/cpu/math-inl.h"
#include "gradus/kernels/cpu/row_products-inl.h"
#include "gradus/kernels/flush_denormals.h"

#ifndef GRADUS_KERNELS_CPU_ATTENTION_BACKWARD_ONCE
#define GRADUS_KERNELS_CPU_ATTENTION_BACKWARD_ONCE

namespace gradus::kernels::cpu {

template <class T>
struct BackwardProblem {
  const AttentionShape& shape;
  int64_t H, G, D;
  float c;  // the scale
  const T *q, *k, *v, *o, *d_o;
  const float* lse;
  float *d_q, *d_k, *d_v;
  float* delta;  // [rows, H]: D_i = sum_d dO O
};

}  // namespace gradus::kernels::cpu

#endif

HWY_BEFORE_NAMESPACE();
namespace gradus::kernels::HWY_NAMESPACE {
namespace {

using cpu::BackwardProblem;

constexpr int64_t B = kKeyBlock;  // rows and keys of a block of P
using DF = Lanes16::D;
constexpr int64_t kLanes = hn::MaxLanes(DF());

// A block's keys and values, its rows, and what is computed of it, as operands of the five products.
template <class T>
struct Scratch {
  static constexpr int64_t kRows = kMaxHeadSize * B / Operands<T>::kPair;
  static constexpr int64_t kPairs = std::is_same_v<T, BFloat16> ? kMaxHeadSize * B / 2 : 16;

  HWY_ALIGN LeftOf<T> k_t[kRows], v_t[kRows];  // transposed: [D, 64]; pairs of d: [D / 2, 64]
  HWY_ALIGN LeftOf<T> q[kRows], d_o[kRows];    // side by side: [64, D]; pairs of d: [64, D / 2]
  HWY_ALIGN float p[B * B];                    // S, then P but in bf16: [rows, keys]
  HWY_ALIGN float d_s[B * B];                  // dP = dO V^T, then c dS but in bf16
  // bf16: pairs of rows [32, D], of keys [32, D], and of rows [32, 64] or keys [64, 32] of P and c dS.
  HWY_ALIGN Bf16Pair q_pairs[kPairs], d_o_pairs[kPairs], k_pairs[kPairs];
  HWY_ALIGN Bf16Pair p_pairs[B * B / 2], d_s_pairs[B * B / 2], d_s_rows[B * B / 2];
};

// n keys or values to columns; columns up to the next multiple of 16 become 0, so that nothing in a block is undefined.
template <class From, class To>
HWY_INLINE void TransposeBlock(RightMatrix<From> rows, int64_t n, int64_t D, To* HWY_RESTRICT to) {
  Transpose(rows, n, D, OutMatrix<To>{to, B});
  for (int64_t d = 0; d < D; ++d) std::fill(to + d * B + n, to + d * B + (n + 15) / 16 * 16, To{});
}

// D_i = sum_d dO O, in the lane order of ref::sum_16_lanes.
template <class T>
HWY_INLINE float Delta(const T* HWY_RESTRICT d_o, const T* HWY_RESTRICT o, int64_t D) {
  const DF d;
  const hn::CappedTag<float, 8> d8;
  Lanes16 sum = Lanes16::Zero();
  for (int64_t k = 0; k < D; k += 16) {
#pragma GCC unroll 4
    for (size_t i = 0; i < Lanes16::kVectors; ++i) {
      const int64_t at = k + static_cast<int64_t>(i) * kLanes;
      if (at >= D) break;
      if constexpr (kLanes == 16) {
        if (at + kLanes > D) {  // the half of a vector is left
          const auto x = hn::ZeroExtendVector(d, LoadFloats(d8, d_o + at));
          sum.v[i] = hn::MulAdd(x, hn::ZeroExtendVector(d, LoadFloats(d8, o + at)), sum.v[i]);
          break;
        }
      }
      sum.v[i] = hn::MulAdd(LoadFloats(d, d_o + at), LoadFloats(d, o + at), sum.v[i]);
    }
  }
  return sum.Sum();
}

// P of scores c r and their lse. In bf16 by a power of 2: c and lse are multiplied by log2 e.
template <class T, class D, class V>
HWY_INLINE V WeightOf(D d, V r, float c, float lse) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return Exp2(d, hn::MulSub(r, hn::Set(d, c), hn::Set(d, lse)));
  } else {
    return ExpUpTo88(d, hn::Sub(hn::Mul(r, hn::Set(d, c)), hn::Set(d, lse)));
  }
}

// What makes P and c dS of a row's S and dP.
struct RowWeights {
  KeyRange visible;
  float c, score_c, score_lse, delta;  // score_: in the units of WeightOf
};
// Of S and dP in the columns j, j + 1, ...: P = exp(c r - lse) and P (dP - D_i) c, 0 where the row sees no key.
template <class T, class D, class V>
HWY_INLINE void WeightsOf(D d, const RowWeights& w, int64_t j, V& p, V& d_s) {
  p = WeightOf<T>(d, p, w.score_c, w.score_lse);
  d_s = hn::Sub(d_s, hn::Set(d, w.delta));
  if (j < w.visible.begin || j + kLanes > w.visible.end) {
    const auto seen = LanesIn(d, j, w.visible);
    p = hn::IfThenElseZero(seen, p);
    d_s = hn::IfThenElseZero(seen, d_s);
  }
  d_s = hn::Mul(hn::Mul(p, d_s), hn::Set(d, w.c));
}

// One row, for the columns [columns.begin, columns.end), multiples of 16; up to `width` the others become 0.
template <class T>
HWY_INLINE void WeightRow(const RowWeights& w, KeyRange columns, int64_t width, float* HWY_RESTRICT p,
                          float* HWY_RESTRICT d_s) {
  const DF d;
  for (float* x : {p, d_s}) {
    std::fill(x, x + columns.begin, 0.0f);
    std::fill(x + columns.end, x + width, 0.0f);
  }
  for (int64_t j = columns.begin; j < columns.end; j += kLanes) {
    auto p_j = hn::Load(d, p + j), d_s_j = hn::Load(d, d_s + j);
    WeightsOf<T>(d, w, j, p_j, d_s_j);
    hn::Store(p_j, d, p + j);
    hn::Store(d_s_j, d, d_s + j);
  }
}

// Rows i and i + 1 of bf16, rounded, as pairs; a second that does not exist sees nothing.
HWY_INLINE void WeightRowPair(const RowWeights& even, const RowWeights& odd, int64_t i, KeyRange columns, int64_t width,
                              Scratch<BFloat16>& t) {
  const DF d;
  for (Bf16Pair* x : {t.p_pairs, t.d_s_pairs}) {
    std::fill(x + i / 2 * B, x + i / 2 * B + columns.begin, Bf16Pair{});
    std::fill(x + i / 2 * B + columns.end, x + i / 2 * B + width, Bf16Pair{});
  }
  for (int64_t j = columns.begin; j < columns.end; j += kLanes) {
    auto p0 = hn::Load(d, t.p + i * B + j), d_s0 = hn::Load(d, t.d_s + i * B + j);
    auto p1 = hn::Load(d, t.p + (i + 1) * B + j), d_s1 = hn::Load(d, t.d_s + (i + 1) * B + j);
    WeightsOf<BFloat16>(d, even, j, p0, d_s0);
    WeightsOf<BFloat16>(d, odd, j, p1, d_s1);
    StoreWeights(d, d_s0, reinterpret_cast<BFloat16*>(t.d_s_rows + i * B / 2) + j);
    StoreWeights(d, d_s1, reinterpret_cast<BFloat16*>(t.d_s_rows + (i + 1) * B / 2) + j);
    StoreLanes(d, RoundToPairs(d, p0, p1), t.p_pairs + i / 2 * B + j);
    StoreLanes(d, RoundToPairs(d, d_s0, d_s1), t.d_s_pairs + i / 2 * B + j);
  }
}

// One sequence: its rows and keys, counted in the batch.
struct Sequence {
  int64_t row0, n_rows, key0, n_keys;
  int64_t first_position;  // of row 0

  KeyRange Visible(const AttentionShape& shape, int64_t i) const {
    return visible_keys(shape, first_position + i, n_keys);
  }
};

// A block of P: query rows [i0, i0 + n_i) of head h against keys [j0, j0 + n_j), counted in the sequence. Every row
// sees some key of the block, but for a first one that only completes a pair (i0 is even in bf16); work that the mask
// leaves out is skipped by groups of kProductRows rows.
struct Block {
  int64_t h, i0, n_i, j0, n_j;
  KeyRange visible[B];  // of each row, columns of the block

  // The columns that any of the rows [begin, end) sees: neither bound falls from row to row.
  KeyRange Columns(int64_t begin, int64_t end) const { return {visible[begin].begin, visible[end - 1].end}; }
  // The rows that see any of the columns [begin, end).
  KeyRange Rows(int64_t begin, int64_t end) const {
    const auto first = std::partition_point(visible, visible + n_i, [&](KeyRange v) { return v.end <= begin; });
    const auto last = std::partition_point(first, visible + n_i, [&](KeyRange v) { return v.begin < end; });
    return {first - visible, last - visible};
  }
};

// Asks for row i of the next head, which the next task needs. Rows of one head lie H D floats apart, which the hardware
// does not foresee; done while this head computes, it makes training on sequences of 100 rows a sixth faster.
template <class T>
HWY_INLINE void PrefetchNextHead(const BackwardProblem<T>& f, const Sequence& s, const Block& b, int64_t i) {
  if (b.h + 1 == f.H) return;
  if (b.j0 == 0) {
    const int64_t next = ((s.row0 + b.i0 + i) * f.H + b.h + 1) * f.D;
    for (const T* x : {f.q, f.o, f.d_o}) PrefetchRow(x + next, f.D);
    PrefetchRow(f.d_q + next, f.D);
  }
  const int64_t group = f.H / f.G, g = b.h / group;
  if (b.i0 <= b.j0 && b.h == g * group && g + 1 < f.G && i < b.n_j) {
    const int64_t next = ((s.key0 + b.j0 + i) * f.G + g + 1) * f.D;
    for (const T* x : {f.k, f.v}) PrefetchRow(x + next, f.D);
    for (const float* x : {f.d_k, f.d_v}) PrefetchRow(x + next, f.D);
  }
}

// The block's keys [j0, j0 + n_j) of key/value head g as operands.
template <class T>
HWY_INLINE void PrepareKeys(const BackwardProblem<T>& f, const Sequence& s, int64_t g, int64_t j0, int64_t n_j,
                            Scratch<T>& t) {
  constexpr int64_t kPair = Operands<T>::kPair;
  const int64_t step = f.G * f.D, start = ((s.key0 + j0) * f.G + g) * f.D;
  using Rows = RightMatrix<RightOf<T>>;
  TransposeBlock(Rows{AsOperands(f.k + start), step / kPair}, n_j, f.D / kPair, t.k_t);
  TransposeBlock(Rows{AsOperands(f.v + start), step / kPair}, n_j, f.D / kPair, t.v_t);
  if constexpr (kPair == 2) {
    // Keys that no row sees count as zeros: they may stand in a pair with one that is seen.
    const KeyRange seen =
        s.n_rows == 0 ? KeyRange{} : KeyRange{s.Visible(f.shape, 0).begin, s.Visible(f.shape, s.n_rows - 1).end};
    const auto key = [&](int64_t j) {
      return j < n_j && j0 + j >= seen.begin && j0 + j < seen.end ? f.k + start + j * step : nullptr;
    };
    for (int64_t j = 0; j < n_j; j += 2) InterleaveRows(key(j), key(j + 1), f.D, t.k_pairs + j / 2 * f.D);
  }
}

// A row as a left operand.
template <class T>
HWY_INLINE void CopyRow(const T* HWY_RESTRICT row, int64_t D, LeftOf<T>* HWY_RESTRICT to) {
  const int64_t n = D / Operands<T>::kPair;
  const DF d;
  const hn::CappedTag<float, 4> d4;
  int64_t k = 0;
  for (; k + kLanes <= n; k += kLanes) StoreLanes(d, LoadLanes(d, AsOperands(row) + k), to + k);
  for (; k < n; k += 4) StoreLanes(d4, LoadLanes(d4, AsOperands(row) + k), to + k);
}

// The block's rows of q and dO as operands: side by side, since rows of one head lie a power of two apart and would
// push each other out of the cache; and in pairs, in which rows that see nothing count as zeros.
template <class T>
HWY_INLINE void PrepareRows(const BackwardProblem<T>& f, const Sequence& s, const Block& b, Scratch<T>& t) {
  const int64_t row_step = f.H * f.D, start = ((s.row0 + b.i0) * f.H + b.h) * f.D, n_k = f.D / Operands<T>::kPair;
  for (int64_t i = 0; i < b.n_i; ++i) {
    CopyRow(f.q + start + i * row_step, f.D, t.q + i * n_k);
    CopyRow(f.d_o + start + i * row_step, f.D, t.d_o + i * n_k);
  }
  if constexpr (Operands<T>::kPair == 2) {
    const auto row = [&](const Bf16Pair* rows, int64_t i) {
      const bool sees = i < b.n_i && b.visible[i].begin < b.visible[i].end;
      return sees ? reinterpret_cast<const BFloat16*>(rows + i * n_k) : nullptr;
    };
    for (int64_t i = 0; i < b.n_i; i += 2) {
      InterleaveRows(row(t.q, i), row(t.q, i + 1), f.D, t.q_pairs + i / 2 * f.D);
      InterleaveRows(row(t.d_o, i), row(t.d_o, i + 1), f.D, t.d_o_pairs + i / 2 * f.D);
    }
  }
}

// 1. S = Q K^T and dP = dO V^T;  2. P and c dS from them.
template <class T>
HWY_INLINE void BlockWeights(const BackwardProblem<T>& f, const Sequence& s, const Block& b, Scratch<T>& t) {
  constexpr int64_t kPair = Operands<T>::kPair;
  using Left = LeftOf<T>;
  const int64_t n_k = f.D / kPair, width = (b.n_j + 15) / 16 * 16;
  const auto columns = [&](int64_t i) {  // of row i's register tile, rounded out to multiples of 16
    const int64_t tile = i - i % kProductRows;
    const KeyRange c = b.Columns(tile, std::min(tile + kProductRows, b.n_i));
    return KeyRange{c.begin / 16 * 16, (c.end + 15) / 16 * 16};
  };
  const auto product = [&](const Left* rows, const Left* transposed, float* to) {
    for (int64_t i = 0; i < b.n_i; i += kProductRows) {
      const KeyRange c = columns(i);
      Product<Merge::store>(std::min(kProductRows, b.n_i - i), LeftMatrix<Left>{rows + i * n_k, n_k, 1},
                            RightMatrix<Left>{transposed + c.begin, B}, {to + i * B + c.begin, B}, n_k,
                            c.end - c.begin);
    }
  };
  product(t.q, t.k_t, t.p);
  product(t.d_o, t.v_t, t.d_s);
  const float to_log2 = static_cast<float>(ref::Exp2Constants::kLog2E);
  const float score_c = kPair == 2 ? static_cast<float>(f.shape.scale * ref::Exp2Constants::kLog2E) : f.c;
  const auto row_weights = [&](int64_t i) {
    const int64_t at = (s.row0 + b.i0 + i) * f.H + b.h;
    return RowWeights{.visible = b.visible[i],
                      .c = f.c,
                      .score_c = score_c,
                      .score_lse = kPair == 2 ? f.lse[at] * to_log2 : f.lse[at],
                      .delta = f.delta[at]};
  };
  for (int64_t i = 0; i < b.n_i; i += kPair) {
    PrefetchNextHead(f, s, b, i);
    if constexpr (kPair == 2) {
      const bool odd = i + 1 < b.n_i;
      if (odd) PrefetchNextHead(f, s, b, i + 1);
      WeightRowPair(row_weights(i), odd ? row_weights(i + 1) : RowWeights{}, i, columns(i), width, t);
    } else {
      WeightRow<T>(row_weights(i), columns(i), width, t.p + i * B, t.d_s + i * B);
    }
  }
}

// 3. dV += P^T dO;  4. dK += (c dS)^T Q;  5. dQ += (c dS) K.  In bf16 indices of rows and keys count pairs.
template <class T>
HWY_INLINE void BlockGradients(const BackwardProblem<T>& f, const Sequence& s, const Block& b, const Scratch<T>& t) {
  constexpr int64_t kPair = Operands<T>::kPair;
  const int64_t D = f.D, row_step = f.H * D, start = ((s.row0 + b.i0) * f.H + b.h) * D;
  const int64_t key_step = f.G * D, key_start = ((s.key0 + b.j0) * f.G + b.h / (f.H / f.G)) * D;
  const auto out_to = [](KeyRange r) { return KeyRange{r.begin / kPair, (r.end + kPair - 1) / kPair}; };
  const auto add_to_keys = [&](const auto* weights, auto rows, float* to) {
    for (int64_t j = 0; j < b.n_j; j += kProductRows) {
      const int64_t n = std::min(kProductRows, b.n_j - j);
      const auto [begin, end] = out_to(b.Rows(j, j + n));
      if (begin == end) continue;
      rows.data += begin * rows.step;
      Product<Merge::extend>(n, LeftMatrix<LeftOf<T>>{weights + begin * B + j, 1, B}, rows,
                             {to + key_start + j * key_step, key_step}, end - begin, D);
      rows.data -= begin * rows.step;
    }
  };
  const auto add_to_rows = [&](const LeftOf<T>* weights, auto keys) {
    for (int64_t i = 0; i < b.n_i; i += kProductRows) {
      const int64_t n = std::min(kProductRows, b.n_i - i);
      const auto [begin, end] = out_to(b.Columns(i, i + n));
      Product<Merge::extend>(n, LeftMatrix<LeftOf<T>>{weights + i * B / kPair + begin, B / kPair, 1},
                             decltype(keys){keys.data + begin * keys.step, keys.step},
                             {f.d_q + start + i * row_step, row_step}, end - begin, D);
    }
  };
  if constexpr (std::is_same_v<T, BFloat16>) {
    add_to_keys(t.p_pairs, RightMatrix<Bf16Pair>{t.d_o_pairs, D}, f.d_v);
    add_to_keys(t.d_s_pairs, RightMatrix<Bf16Pair>{t.q_pairs, D}, f.d_k);
    add_to_rows(t.d_s_rows, RightMatrix<Bf16Pair>{t.k_pairs, D});
  } else {
    add_to_keys(t.p, RightMatrix<float>{t.d_o, D}, f.d_v);
    add_to_keys(t.d_s, RightMatrix<float>{t.q, D}, f.d_k);
    add_to_rows(t.d_s, RightMatrix<T>{f.k + key_start, key_step});
  }
}

// Rows [i0, i0 + 64) of the sequence, without those that see none of the keys [j0, j0 + n_j).
template <class T>
HWY_INLINE Block MakeBlock(const BackwardProblem<T>& f, const Sequence& s, int64_t h, int64_t i0, int64_t j0,
                           int64_t n_j) {
  Block b;
  b.h = h;
  b.j0 = j0;
  b.n_j = n_j;
  b.n_i = 0;
  for (int64_t i = i0; i < std::min(i0 + B, s.n_rows); ++i) {
    const KeyRange v = s.Visible(f.shape, i);
    if (v.end <= j0 || v.begin >= std::min(v.end, j0 + n_j)) continue;
    if (b.n_i == 0) {
      b.i0 = i / Operands<T>::kPair * Operands<T>::kPair;
      if (b.i0 < i) b.visible[b.n_i++] = {0, 0};
    }
    b.visible[b.n_i++] = {std::max<int64_t>(0, v.begin - j0), std::min(n_j, v.end - j0)};
  }
  return b;
}

// All gradients of one key/value head g of a sequence. Blocks of keys outside, heads and query rows inside, all
// ascending: every element of d_q, d_k, d_v is one ascending chain from 0.
template <class T>
void BackwardHead(const BackwardProblem<T>& f, const Sequence& s, int64_t g) {
  const int64_t group = f.H / f.G, key_step = f.G * f.D;
  for (int64_t i = 0; i < s.n_rows; ++i) {
    for (int64_t h = g * group; h < (g + 1) * group; ++h) {
      const int64_t at = (s.row0 + i) * f.H + h;
      std::fill_n(f.d_q + at * f.D, f.D, 0.0f);
      f.delta[at] = Delta(f.d_o + at * f.D, f.o + at * f.D, f.D);
    }
  }
  Scratch<T> t;
  for (int64_t j0 = 0; j0 < s.n_keys; j0 += B) {
    const int64_t n_j = std::min(B, s.n_keys - j0), start = ((s.key0 + j0) * f.G + g) * f.D;
    for (int64_t j = 0; j < n_j; ++j) {
      std::fill_n(f.d_k + start + j * key_step, f.D, 0.0f);
      std::fill_n(f.d_v + start + j * key_step, f.D, 0.0f);
    }
    PrepareKeys(f, s, g, j0, n_j, t);
    for (int64_t h = g * group; h < (g + 1) * group; ++h) {
      for (int64_t i0 = 0; i0 < s.n_rows; i0 += B) {
        const Block block = MakeBlock(f, s, h, i0, j0, n_j);
        if (block.n_i == 0) continue;
        PrepareRows(f, s, block, t);
        BlockWeights(f, s, block, t);
        BlockGradients(f, s, block, t);
      }
    }
  }
}

template <class T>
void BackwardTask(const BackwardProblem<T>& f, const AttentionLayout& layout, int64_t sequence, int64_t g) {
  const auto& key_offsets = layout.key_offsets.empty() ? layout.row_offsets : layout.key_offsets;
  const int64_t row0 = layout.row_offsets[sequence], n_rows = layout.row_offsets[sequence + 1] - row0;
  BackwardHead(f,
               {.row0 = row0,
                .n_rows = n_rows,
                .key0 = key_offsets[sequence],
                .n_keys = key_offsets[sequence + 1] - key_offsets[sequence],
                .first_position = n_rows > 0 ? layout.key_positions[row0] : 0},
               g);
}

// Highway exports functions, not templates.
void BackwardF32(const BackwardProblem<float>& f, const AttentionLayout& layout, int64_t sequence, int64_t g) {
  BackwardTask(f, layout, sequence, g);
}
void BackwardBf16(const BackwardProblem<BFloat16>& f, const AttentionLayout& layout, int64_t sequence, int64_t g) {
  BackwardTask(f, layout, sequence, g);
}
void BackwardF16(const BackwardProblem<Float16>& f, const AttentionLayout& layout, int64_t sequence, int64_t g) {
  BackwardTask(f, layout, sequence, g);
}

}  // namespace
}  // namespace gradus::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradus::kernels {
HWY_EXPORT(BackwardF32);
HWY_EXPORT(BackwardBf16);
HWY_EXPORT(BackwardF16);
}  // namespace gradus::kernels

namespace gradus::kernels::cpu {

namespace {

// The kernel of a dtype on the active instruction set.
template <class T>
auto backward_of() {
  if constexpr (std::is_same_v<T, float>) return HWY_DYNAMIC_DISPATCH(BackwardF32);
  if constexpr (std::is_same_v<T, BFloat16>) return HWY_DYNAMIC_DISPATCH(BackwardBf16);
  if constexpr (std::is_same_v<T, Float16>) return HWY_DYNAMIC_DISPATCH(BackwardF16);
}

}  // namespace

int64_t backward_scratch_bytes() {
  return sizeof(HWY_NAMESPACE::Scratch<Float16>);  // the largest of all dtypes
}

template <class T>
void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o, const Tensor& lse,
                        const Tensor& d_o, const AttentionLayout& layout, const AttentionShape& shape, Tensor& d_q,
                        Tensor& d_k, Tensor& d_v) {
  Tensor delta = Tensor::empty({q.dim(0), shape.heads}, DType::f32);
  const BackwardProblem<T> f{.shape = shape,
                             .H = shape.heads,
                             .G = shape.kv_heads,
                             .D = shape.head_size,
                             .c = static_cast<float>(shape.scale),
                             .q = q.data<T>(),
                             .k = k.data<T>(),
                             .v = v.data<T>(),
                             .o = o.data<T>(),
                             .d_o = d_o.data<T>(),
                             .lse = lse.data<float>(),
                             .d_q = d_q.data<float>(),
                             .d_k = d_k.data<float>(),
                             .d_v = d_v.data<float>(),
                             .delta = delta.data<float>()};
  const auto backward_task = backward_of<T>();
  parallel_for(layout.n_sequences() * f.G, [&](int64_t task) {
    const FlushDenormals flush(kFlushes<T>);
    backward_task(f, layout, task / f.G, task % f.G);
  });
}

#define GRADUS_INSTANTIATE(T)                                                                                         \
  template void attention_backward<T>(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,      \
                                      const Tensor&, const AttentionLayout&, const AttentionShape&, Tensor&, Tensor&, \
                                      Tensor&);
GRADUS_INSTANTIATE(float)
GRADUS_INSTANTIATE(BFloat16)
GRADUS_INSTANTIATE(Float16)
#undef GRADUS_INSTANTIATE

}  // namespace gradus::kernels::cpu
#endif
