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

// One row of P = exp(c s - lse) and dS = P (dP - D_i) c over the first `columns` keys, both 0 where the row sees no
// key.
HWY_INLINE void WeightRow(float* HWY_RESTRICT p, float* HWY_RESTRICT d_s, int64_t columns, int64_t visible, float c,
                          float lse, float delta) {
  const DF d;
  for (int64_t j = 0; j < columns; j += kLanes) {
    auto weight = ExpUpTo88(d, hn::Sub(hn::Mul(hn::Load(d, p + j), hn::Set(d, c)), hn::Set(d, lse)));
    if (j + kLanes > visible) {
      weight = hn::IfThenElseZero(hn::FirstN(d, static_cast<size_t>(std::max<int64_t>(0, visible - j))), weight);
    }
    const auto change = hn::Sub(hn::Load(d, d_s + j), hn::Set(d, delta));
    hn::Store(weight, d, p + j);
    hn::Store(hn::Mul(hn::Mul(weight, change), hn::Set(d, c)), d, d_s + j);
  }
}

// A block of P: query rows [i0, i0 + n_i) of head h against keys [j0, j0 + n_j), rows counted in the batch. On the
// diagonal (i0 == j0) row i sees keys 0 .. i only; the work above is skipped by groups of kProductRows rows.
struct Block {
  int64_t h, i0, n_i, j0, n_j;
  bool first_keys;   // j0 is the sequence's start: d_q begins here
  bool first_query;  // d_k and d_v begin here
};

// Asks for row i of the next head, which the next task needs. Rows of one head lie H D floats apart, which the hardware
// does not foresee; done while this head computes, it makes training on sequences of 100 rows a sixth faster.
HWY_INLINE void PrefetchNextHead(const BackwardProblem& f, const Block& b, int64_t i) {
  if (b.h + 1 == f.H) return;
  if (b.first_keys) {
    const int64_t next = ((b.i0 + i) * f.H + b.h + 1) * f.D;
    for (const float* x : {f.q, f.o, f.d_o, static_cast<const float*>(f.d_q)}) PrefetchRow(x + next, f.D);
  }
  const int64_t g = b.h / (f.H / f.G);
  if (b.first_query && g + 1 < f.G) {
    const int64_t next = ((b.j0 + i) * f.G + g + 1) * f.D;
    for (const float* x : {f.k, f.v, static_cast<const float*>(f.d_k), static_cast<const float*>(f.d_v)}) {
      PrefetchRow(x + next, f.D);
    }
  }
}

// 1. S = Q K^T and dP = dO V^T;  2. P and dS from them.
HWY_INLINE void BlockWeights(const BackwardProblem& f, const Block& b, Scratch& t) {
  const int64_t row_step = f.H * f.D, start = (b.i0 * f.H + b.h) * f.D;
  const bool diagonal = b.i0 == b.j0;
  const auto columns = [&](int64_t i) {  // keys that the register tile of row i sees, rounded up to 16
    return diagonal ? (std::min(i - i % kProductRows + kProductRows, b.n_i) + 15) / 16 * 16 : (b.n_j + 15) / 16 * 16;
  };
  for (int64_t i = 0; i < b.n_i; i += kProductRows) {
    Product<Merge::store>(std::min(kProductRows, b.n_i - i), {f.q + start + i * row_step, row_step, 1}, {t.k_t, B},
                          {t.p + i * B, B}, f.D, columns(i));
  }
  for (int64_t i = 0; i < b.n_i; i += kProductRows) {
    Product<Merge::store>(std::min(kProductRows, b.n_i - i), {f.d_o + start + i * row_step, row_step, 1}, {t.v_t, B},
                          {t.d_s + i * B, B}, f.D, columns(i));
  }
  for (int64_t i = 0; i < b.n_i; ++i) {
    const int64_t at = start + i * row_step;
    PrefetchNextHead(f, b, i);
    WeightRow(t.p + i * B, t.d_s + i * B, columns(i), diagonal ? i + 1 : b.n_j, f.c, f.lse[(b.i0 + i) * f.H + b.h],
              Delta(f.d_o + at, f.o + at, f.D));
  }
}

// out [n_rows, D], overwritten by the first block and extended by the later ones.
HWY_INLINE void StoreOrExtend(bool first, int64_t n_rows, LeftMatrix a, RightMatrix b, OutMatrix out, int64_t n_k,
                              int64_t D) {
  if (first) {
    Product<Merge::store>(n_rows, a, b, out, n_k, D);
  } else {
    Product<Merge::extend>(n_rows, a, b, out, n_k, D);
  }
}

// 3. dV += P^T dO;  4. dK += (c dS)^T Q;  5. dQ += (c dS) K.
HWY_INLINE void BlockGradients(const BackwardProblem& f, const Block& b, const Scratch& t) {
  const int64_t D = f.D, row_step = f.H * D, start = (b.i0 * f.H + b.h) * D;
  const int64_t key_step = f.G * D, key_start = (b.j0 * f.G + b.h / (f.H / f.G)) * D;
  const bool diagonal = b.i0 == b.j0;
  for (int64_t j = 0; j < b.n_j; j += kProductRows) {
    const int64_t n = std::min(kProductRows, b.n_j - j), i = diagonal ? j : 0;  // rows above i do not see key j
    StoreOrExtend(b.first_query, n, {t.p + i * B + j, 1, B}, {f.d_o + start + i * row_step, row_step},
                  {f.d_v + key_start + j * key_step, key_step}, b.n_i - i, D);
  }
  for (int64_t j = 0; j < b.n_j; j += kProductRows) {
    const int64_t n = std::min(kProductRows, b.n_j - j), i = diagonal ? j : 0;
    StoreOrExtend(b.first_query, n, {t.d_s + i * B + j, 1, B}, {f.q + start + i * row_step, row_step},
                  {f.d_k + key_start + j * key_step, key_step}, b.n_i - i, D);
  }
  for (int64_t i = 0; i < b.n_i; i += kProductRows) {
    const int64_t n = std::min(kProductRows, b.n_i - i);
    StoreOrExtend(b.first_keys, n, {t.d_s + i * B, B, 1}, {f.k + key_start, key_step},
                  {f.d_q + start + i * row_step, row_step}, diagonal ? i + n : b.n_j, D);
  }
}

// All gradients of one key/value head g in rows [begin, end), one sequence. Blocks of keys outside, heads and query
// rows inside, all ascending: every element of d_q, d_k, d_v is one ascending chain.
void BackwardHead(const BackwardProblem& f, int64_t begin, int64_t end, int64_t g) {
  const int64_t group = f.H / f.G, key_step = f.G * f.D;
  Scratch t;
  for (int64_t j0 = begin; j0 < end; j0 += B) {
    const int64_t n_j = std::min(B, end - j0);
    TransposeBlock({f.k + (j0 * f.G + g) * f.D, key_step}, n_j, f.D, t.k_t);
    TransposeBlock({f.v + (j0 * f.G + g) * f.D, key_step}, n_j, f.D, t.v_t);
    for (int64_t h = g * group; h < (g + 1) * group; ++h) {
      for (int64_t i0 = j0; i0 < end; i0 += B) {
        const Block block{.h = h,
                          .i0 = i0,
                          .n_i = std::min(B, end - i0),
                          .j0 = j0,
                          .n_j = n_j,
                          .first_keys = j0 == begin,
                          .first_query = i0 == j0 && h == g * group};
        BlockWeights(f, block, t);
        BlockGradients(f, block, t);
      }
    }
  }
}

}  // namespace gradus::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradus::kernels {
HWY_EXPORT(BackwardHead);
}  // namespace gradus::kernels

namespace gradus::kernels::cpu {

void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o, const Tensor& lse,
                        const Tensor& d_o, const AttentionLayout& layout, const AttentionShape& shape, Tensor& d_q,
                        Tensor& d_k, Tensor& d_v) {
  const BackwardProblem f{.H = shape.heads,
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
  const auto backward_head = HWY_DYNAMIC_DISPATCH(BackwardHead);
  parallel_for(layout.n_sequences() * f.G, [&](int64_t task) {
    const int64_t sequence = task / f.G;
    backward_head(f, layout.row_offsets[sequence], layout.row_offsets[sequence + 1], task % f.G);
  });
}

}  // namespace gradus::kernels::cpu
#endif
