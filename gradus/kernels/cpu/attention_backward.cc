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
  static constexpr int64_t kWidened = std::is_same_v<T, Float16> ? kMaxHeadSize * B : 16;
  static constexpr int64_t kPaired = std::is_same_v<T, BFloat16> ? kMaxHeadSize * B / 2 : 16;

  HWY_ALIGN LeftOf<T> k_t[kMaxHeadSize * B / Operands<T>::kPair];  // transposed: [D, 64]; pairs of d: [D / 2, 64]
  HWY_ALIGN LeftOf<T> v_t[kMaxHeadSize * B / Operands<T>::kPair];
  HWY_ALIGN float p[B * B];    // S, then P:  [rows, keys]
  HWY_ALIGN float d_s[B * B];  // dP = dO V^T, then c dS
  // f16: rows as floats [64, D].
  HWY_ALIGN float q[kWidened], d_o[kWidened];
  // bf16: pairs of rows [32, D], of keys [32, D], and of rows [32, 64] or keys [64, 32] of P and dS.
  HWY_ALIGN Bf16Pair q_pairs[kPaired], d_o_pairs[kPaired], k_pairs[kPaired];
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

// One row of P = exp(c r - lse) and dS = P (dP - D_i) c for the columns [begin, end), multiples of 16; both 0 where the
// row sees no key, and up to `width`.
struct RowWeights {
  int64_t begin, end, width;
  KeyRange visible;
  float c, score_c, score_lse, delta;  // score_: in the units of WeightOf
};
template <class T>
HWY_INLINE void WeightRow(const RowWeights& w, float* HWY_RESTRICT p, float* HWY_RESTRICT d_s) {
  const DF d;
  for (float* x : {p, d_s}) {
    std::fill(x, x + w.begin, 0.0f);
    std::fill(x + w.end, x + w.width, 0.0f);
  }
  for (int64_t j = w.begin; j < w.end; j += kLanes) {
    auto weight = WeightOf<T>(d, hn::Load(d, p + j), w.score_c, w.score_lse);
    auto change = hn::Sub(hn::Load(d, d_s + j), hn::Set(d, w.delta));
    if (j < w.visible.begin || j + kLanes > w.visible.end) {
      const auto seen = LanesIn(d, j, w.visible);
      weight = hn::IfThenElseZero(seen, weight);
      change = hn::IfThenElseZero(seen, change);
    }
    hn::Store(weight, d, p + j);
    hn::Store(hn::Mul(hn::Mul(weight, change), hn::Set(d, w.c)), d, d_s + j);
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

// The block's rows of q and dO as operands: widened, or in pairs, in which rows that see nothing count as zeros.
template <class T>
HWY_INLINE void PrepareRows(const BackwardProblem<T>& f, const Sequence& s, const Block& b, Scratch<T>& t) {
  const int64_t row_step = f.H * f.D, start = ((s.row0 + b.i0) * f.H + b.h) * f.D;
  if constexpr (std::is_same_v<T, Float16>) {
    const hn::CappedTag<float, 8> d;
    for (int64_t i = 0; i < b.n_i; ++i) {
      for (int64_t k = 0; k < f.D; k += static_cast<int64_t>(hn::MaxLanes(d))) {
        hn::Store(LoadFloats(d, f.q + start + i * row_step + k), d, t.q + i * f.D + k);
        hn::Store(LoadFloats(d, f.d_o + start + i * row_step + k), d, t.d_o + i * f.D + k);
      }
    }
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    const auto row = [&](const T* x, int64_t i) {
      return i < b.n_i && b.visible[i].begin < b.visible[i].end ? x + start + i * row_step : nullptr;
    };
    for (int64_t i = 0; i < b.n_i; i += 2) {
      InterleaveRows(row(f.q, i), row(f.q, i + 1), f.D, t.q_pairs + i / 2 * f.D);
      InterleaveRows(row(f.d_o, i), row(f.d_o, i + 1), f.D, t.d_o_pairs + i / 2 * f.D);
    }
  }
}

// P and dS, rounded to bf16, as operands.
HWY_INLINE void PairWeights(const Block& b, int64_t width, Scratch<BFloat16>& t) {
  const DF d;
  const hn::RebindToUnsigned<DF> du;
  for (int64_t i = 0; i < b.n_i; i += 2) {
    const auto pair_rows = [&](const float* rows, Bf16Pair* to) HWY_ATTR {
      for (int64_t j = 0; j < width; j += kLanes) {
        const auto even = hn::ShiftRight<16>(RoundToBf16(d, hn::Load(d, rows + i * B + j)));
        auto odd = hn::Zero(du);
        if (i + 1 < b.n_i) odd = hn::And(RoundToBf16(d, hn::Load(d, rows + (i + 1) * B + j)), hn::Set(du, 0xffff0000u));
        StoreLanes(d, hn::BitCast(d, hn::Or(even, odd)), to + i / 2 * B + j);
      }
    };
    pair_rows(t.p, t.p_pairs);
    pair_rows(t.d_s, t.d_s_pairs);
  }
  for (int64_t i = 0; i < b.n_i; ++i) {
    BFloat16* row = reinterpret_cast<BFloat16*>(t.d_s_rows + i * B / 2);
    for (int64_t j = 0; j < width; j += kLanes) StoreFloats(d, hn::Load(d, t.d_s + i * B + j), row + j);
  }
}

// 1. S = Q K^T and dP = dO V^T;  2. P and dS from them.
template <class T>
HWY_INLINE void BlockWeights(const BackwardProblem<T>& f, const Sequence& s, const Block& b, Scratch<T>& t) {
  constexpr int64_t kPair = Operands<T>::kPair;
  using Left = LeftOf<T>;
  const int64_t row_step = f.H * f.D, start = ((s.row0 + b.i0) * f.H + b.h) * f.D, width = (b.n_j + 15) / 16 * 16;
  const auto columns = [&](int64_t i) {  // of row i's register tile, rounded out to multiples of 16
    const int64_t tile = i - i % kProductRows;
    const KeyRange c = b.Columns(tile, std::min(tile + kProductRows, b.n_i));
    return KeyRange{c.begin / 16 * 16, (c.end + 15) / 16 * 16};
  };
  const auto product = [&](LeftMatrix<Left> rows, const Left* transposed, float* to) {
    for (int64_t i = 0; i < b.n_i; i += kProductRows) {
      const KeyRange c = columns(i);
      Product<Merge::store>(
          std::min(kProductRows, b.n_i - i), LeftMatrix<Left>{rows.data + i * rows.row_step, rows.row_step, 1},
          RightMatrix<Left>{transposed + c.begin, B}, {to + i * B + c.begin, B}, f.D / kPair, c.end - c.begin);
    }
  };
  if constexpr (std::is_same_v<T, Float16>) {
    product({t.q, f.D, 1}, t.k_t, t.p);
    product({t.d_o, f.D, 1}, t.v_t, t.d_s);
  } else {
    product({AsOperands(f.q + start), row_step / kPair, 1}, t.k_t, t.p);
    product({AsOperands(f.d_o + start), row_step / kPair, 1}, t.v_t, t.d_s);
  }
  const float to_log2 = static_cast<float>(ref::Exp2Constants::kLog2E);
  const float score_c = kPair == 2 ? static_cast<float>(f.shape.scale * ref::Exp2Constants::kLog2E) : f.c;
  for (int64_t i = 0; i < b.n_i; ++i) {
    const int64_t at = start + i * row_step;
    const KeyRange c = columns(i);
    const float lse = f.lse[(s.row0 + b.i0 + i) * f.H + b.h];
    PrefetchNextHead(f, s, b, i);
    WeightRow<T>({.begin = c.begin,
                  .end = c.end,
                  .width = width,
                  .visible = b.visible[i],
                  .c = f.c,
                  .score_c = score_c,
                  .score_lse = kPair == 2 ? lse * to_log2 : lse,
                  .delta = Delta(f.d_o + at, f.o + at, f.D)},
                 t.p + i * B, t.d_s + i * B);
  }
  if constexpr (kPair == 2) PairWeights(b, width, t);
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
    using Floats = RightMatrix<float>;
    if constexpr (std::is_same_v<T, Float16>) {
      add_to_keys(t.p, Floats{t.d_o, D}, f.d_v);
      add_to_keys(t.d_s, Floats{t.q, D}, f.d_k);
    } else {
      add_to_keys(t.p, Floats{f.d_o + start, row_step}, f.d_v);
      add_to_keys(t.d_s, Floats{f.q + start, row_step}, f.d_k);
    }
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
  for (int64_t i = 0; i < s.n_rows; ++i) std::fill_n(f.d_q + ((s.row0 + i) * f.H + g * group) * f.D, group * f.D, 0.0f);
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
                             .d_v = d_v.data<float>()};
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
