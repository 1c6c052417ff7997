// Backward attention; see gradus/kernels/attention.h for what is computed in which order.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gradus/kernels/cpu/attention_backward.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

#include "gradus/core/thread_pool.h"
#include "gradus/kernels/cpu/attention.h"
#include "gradus/kernels/cpu/math-inl.h"
#include "gradus/kernels/cpu/row_products-inl.h"

#ifndef GRADUS_KERNELS_CPU_ATTENTION_BACKWARD_ONCE
#define GRADUS_KERNELS_CPU_ATTENTION_BACKWARD_ONCE

namespace gradus::kernels::cpu {

struct BackwardProblem {
  const AttentionShape& shape;
  int64_t H, G, D;
  float c;
  const float *q, *k, *v, *o, *lse, *d_o;
  float *d_q, *d_k, *d_v;
};

}  // namespace gradus::kernels::cpu

#endif

HWY_BEFORE_NAMESPACE();
namespace gradus::kernels::HWY_NAMESPACE {

using cpu::BackwardProblem;

constexpr int64_t B = kKeyBlock;  // rows and keys of a block of P
using DF = Lanes16::D;
constexpr int64_t kLanes = hn::MaxLanes(DF());

struct Scratch {
  HWY_ALIGN float k_t[kMaxHeadSize * B];  // the block's keys and values, transposed: [D, 64]
  HWY_ALIGN float v_t[kMaxHeadSize * B];
  HWY_ALIGN float p[B * B];    // S, then P:  [rows, keys]
  HWY_ALIGN float d_s[B * B];  // dP = dO V^T, then c dS
};

// n keys or values to columns; columns up to the next multiple of 16 become 0, so that nothing in a block is undefined.
HWY_INLINE void TransposeBlock(RightMatrix rows, int64_t n, int64_t D, float* HWY_RESTRICT to) {
  Transpose(rows, n, D, {to, B});
  for (int64_t d = 0; d < D; ++d) std::fill(to + d * B + n, to + d * B + (n + 15) / 16 * 16, 0.0f);
}

// D_i = sum_d dO O, in the lane order of ref::sum_16_lanes.
HWY_INLINE float Delta(const float* HWY_RESTRICT d_o, const float* HWY_RESTRICT o, int64_t D) {
  const DF d;
  Lanes16 sum = Lanes16::Zero();
  for (int64_t k = 0; k < D; k += 16) {
#pragma GCC unroll 4
    for (size_t i = 0; i < Lanes16::kVectors; ++i) {
      const int64_t at = k + static_cast<int64_t>(i) * kLanes;
      if (at >= D) break;
      const auto inside = hn::FirstN(d, static_cast<size_t>(std::min(kLanes, D - at)));
      sum.v[i] = hn::MulAdd(hn::MaskedLoad(inside, d, d_o + at), hn::MaskedLoad(inside, d, o + at), sum.v[i]);
    }
  }
  return sum.Sum();
}

// One row of P = exp(c s - lse) and dS = P (dP - D_i) c for the columns [begin, end), multiples of 16; both 0 where the
// row sees no key, and up to `width`.
HWY_INLINE void WeightRow(float* HWY_RESTRICT p, float* HWY_RESTRICT d_s, int64_t begin, int64_t end, int64_t width,
                          KeyRange visible, float c, float lse, float delta) {
  const DF d;
  for (float* x : {p, d_s}) {
    std::fill(x, x + begin, 0.0f);
    std::fill(x + end, x + width, 0.0f);
  }
  for (int64_t j = begin; j < end; j += kLanes) {
    auto weight = ExpUpTo88(d, hn::Sub(hn::Mul(hn::Load(d, p + j), hn::Set(d, c)), hn::Set(d, lse)));
    if (j < visible.begin || j + kLanes > visible.end) weight = hn::IfThenElseZero(LanesIn(d, j, visible), weight);
    const auto change = hn::Sub(hn::Load(d, d_s + j), hn::Set(d, delta));
    hn::Store(weight, d, p + j);
    hn::Store(hn::Mul(hn::Mul(weight, change), hn::Set(d, c)), d, d_s + j);
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
// sees some key of the block; work that the mask leaves out is skipped by groups of kProductRows rows.
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
HWY_INLINE void PrefetchNextHead(const BackwardProblem& f, const Sequence& s, const Block& b, int64_t i) {
  if (b.h + 1 == f.H) return;
  if (b.j0 == 0) {
    const int64_t next = ((s.row0 + b.i0 + i) * f.H + b.h + 1) * f.D;
    for (const float* x : {f.q, f.o, f.d_o, static_cast<const float*>(f.d_q)}) PrefetchRow(x + next, f.D);
  }
  const int64_t group = f.H / f.G, g = b.h / group;
  if (b.i0 <= b.j0 && b.h == g * group && g + 1 < f.G && i < b.n_j) {
    const int64_t next = ((s.key0 + b.j0 + i) * f.G + g + 1) * f.D;
    for (const float* x : {f.k, f.v, static_cast<const float*>(f.d_k), static_cast<const float*>(f.d_v)}) {
      PrefetchRow(x + next, f.D);
    }
  }
}

// 1. S = Q K^T and dP = dO V^T;  2. P and dS from them.
HWY_INLINE void BlockWeights(const BackwardProblem& f, const Sequence& s, const Block& b, Scratch& t) {
  const int64_t row_step = f.H * f.D, start = ((s.row0 + b.i0) * f.H + b.h) * f.D, width = (b.n_j + 15) / 16 * 16;
  const auto columns = [&](int64_t i) {  // of row i's register tile, rounded out to multiples of 16
    const int64_t tile = i - i % kProductRows;
    const KeyRange c = b.Columns(tile, std::min(tile + kProductRows, b.n_i));
    return KeyRange{c.begin / 16 * 16, (c.end + 15) / 16 * 16};
  };
  const auto product = [&](const float* rows, const float* transposed, float* to) {
    for (int64_t i = 0; i < b.n_i; i += kProductRows) {
      const KeyRange c = columns(i);
      Product<Merge::store>(std::min(kProductRows, b.n_i - i), {rows + start + i * row_step, row_step, 1},
                            {transposed + c.begin, B}, {to + i * B + c.begin, B}, f.D, c.end - c.begin);
    }
  };
  product(f.q, t.k_t, t.p);
  product(f.d_o, t.v_t, t.d_s);
  for (int64_t i = 0; i < b.n_i; ++i) {
    const int64_t at = start + i * row_step;
    const KeyRange c = columns(i);
    PrefetchNextHead(f, s, b, i);
    WeightRow(t.p + i * B, t.d_s + i * B, c.begin, c.end, width, b.visible[i], f.c,
              f.lse[(s.row0 + b.i0 + i) * f.H + b.h], Delta(f.d_o + at, f.o + at, f.D));
  }
}

// 3. dV += P^T dO;  4. dK += (c dS)^T Q;  5. dQ += (c dS) K.
HWY_INLINE void BlockGradients(const BackwardProblem& f, const Sequence& s, const Block& b, const Scratch& t) {
  const int64_t D = f.D, row_step = f.H * D, start = ((s.row0 + b.i0) * f.H + b.h) * D;
  const int64_t key_step = f.G * D, key_start = ((s.key0 + b.j0) * f.G + b.h / (f.H / f.G)) * D;
  const auto add_to_keys = [&](const float* weights, const float* rows, float* to) {
    for (int64_t j = 0; j < b.n_j; j += kProductRows) {
      const int64_t n = std::min(kProductRows, b.n_j - j);
      const auto [begin, end] = b.Rows(j, j + n);
      if (begin == end) continue;
      Product<Merge::extend>(n, {weights + begin * B + j, 1, B}, {rows + start + begin * row_step, row_step},
                             {to + key_start + j * key_step, key_step}, end - begin, D);
    }
  };
  add_to_keys(t.p, f.d_o, f.d_v);
  add_to_keys(t.d_s, f.q, f.d_k);
  for (int64_t i = 0; i < b.n_i; i += kProductRows) {
    const int64_t n = std::min(kProductRows, b.n_i - i);
    const auto [begin, end] = b.Columns(i, i + n);
    Product<Merge::extend>(n, {t.d_s + i * B + begin, B, 1}, {f.k + key_start + begin * key_step, key_step},
                           {f.d_q + start + i * row_step, row_step}, end - begin, D);
  }
}

// Rows [i0, i0 + 64) of the sequence, without those that see none of the keys [j0, j0 + n_j).
HWY_INLINE Block MakeBlock(const BackwardProblem& f, const Sequence& s, int64_t h, int64_t i0, int64_t j0,
                           int64_t n_j) {
  Block b;
  b.h = h;
  b.j0 = j0;
  b.n_j = n_j;
  b.n_i = 0;
  for (int64_t i = i0; i < std::min(i0 + B, s.n_rows); ++i) {
    const KeyRange v = s.Visible(f.shape, i);
    if (v.end <= j0 || v.begin >= std::min(v.end, j0 + n_j)) continue;
    if (b.n_i == 0) b.i0 = i;
    b.visible[b.n_i++] = {std::max<int64_t>(0, v.begin - j0), std::min(n_j, v.end - j0)};
  }
  return b;
}

// All gradients of one key/value head g of a sequence. Blocks of keys outside, heads and query rows inside, all
// ascending: every element of d_q, d_k, d_v is one ascending chain from 0.
void BackwardHead(const BackwardProblem& f, const Sequence& s, int64_t g) {
  const int64_t group = f.H / f.G, key_step = f.G * f.D;
  for (int64_t i = 0; i < s.n_rows; ++i) std::fill_n(f.d_q + ((s.row0 + i) * f.H + g * group) * f.D, group * f.D, 0.0f);
  Scratch t;
  for (int64_t j0 = 0; j0 < s.n_keys; j0 += B) {
    const int64_t n_j = std::min(B, s.n_keys - j0), start = ((s.key0 + j0) * f.G + g) * f.D;
    for (int64_t j = 0; j < n_j; ++j) {
      std::fill_n(f.d_k + start + j * key_step, f.D, 0.0f);
      std::fill_n(f.d_v + start + j * key_step, f.D, 0.0f);
    }
    TransposeBlock({f.k + start, key_step}, n_j, f.D, t.k_t);
    TransposeBlock({f.v + start, key_step}, n_j, f.D, t.v_t);
    for (int64_t h = g * group; h < (g + 1) * group; ++h) {
      for (int64_t i0 = 0; i0 < s.n_rows; i0 += B) {
        const Block block = MakeBlock(f, s, h, i0, j0, n_j);
        if (block.n_i == 0) continue;
        BlockWeights(f, s, block, t);
        BlockGradients(f, s, block, t);
      }
    }
  }
}

void BackwardTask(const BackwardProblem& f, const AttentionLayout& layout, int64_t sequence, int64_t g) {
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

}  // namespace gradus::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradus::kernels {
HWY_EXPORT(BackwardTask);
}  // namespace gradus::kernels

namespace gradus::kernels::cpu {

int64_t backward_scratch_bytes() {
  return sizeof(HWY_NAMESPACE::Scratch);
}

void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o, const Tensor& lse,
                        const Tensor& d_o, const AttentionLayout& layout, const AttentionShape& shape, Tensor& d_q,
                        Tensor& d_k, Tensor& d_v) {
  const BackwardProblem f{.shape = shape,
                          .H = shape.heads,
                          .G = shape.kv_heads,
                          .D = shape.head_size,
                          .c = static_cast<float>(shape.scale),
                          .q = q.data<float>(),
                          .k = k.data<float>(),
                          .v = v.data<float>(),
                          .o = o.data<float>(),
                          .lse = lse.data<float>(),
                          .d_o = d_o.data<float>(),
                          .d_q = d_q.data<float>(),
                          .d_k = d_k.data<float>(),
                          .d_v = d_v.data<float>()};
  const auto backward_task = HWY_DYNAMIC_DISPATCH(BackwardTask);
  parallel_for(layout.n_sequences() * f.G, [&](int64_t task) { backward_task(f, layout, task / f.G, task % f.G); });
}

}  // namespace gradus::kernels::cpu
#endif
