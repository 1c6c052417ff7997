// Attention over packed rows and paged keys and values: one contract for training, prefill and decode. What the sampler
// computes for a row is, bit for bit, what the trainer computes for it.
//
// Notation: H query heads, G key/value heads (G divides H; head h reads kv head h / (H/G)), D head size (a multiple of
// 8, at most 256), rows = all rows of all sequences of the call.
//
// A query row at position p of its sequence sees the keys at positions p - left .. p + right, those that exist
// (AttentionShape; the default is causal: all up to p). In one pass over them it carries three values (online softmax,
// arXiv 1805.02867; FlashAttention-2, arXiv 2307.08691): m, the largest score so far; l, the sum of exp(s_j - m); and
// u, the sum of exp(s_j - m) v_j. A larger m only scales what was summed before, so scores never leave the cache, and
// one division in the end gives the softmax-weighted mean of the values. ref/attention_ladder.h climbs there from the
// textbook's softmax.
//
// For query row i, head h, scale c:
//   s_j = c * dot(q_i, k_j),  dot = one multiply-add chain over d ascending from 0
// Keys are visited in blocks of kKeyBlock at absolute positions 0, 64, 128, ... of the SEQUENCE, ascending. Per block:
//   m' = max(m, max_j s_j);   alpha = exp(m - m');   e_j = exp(s_j - m')   (masked slots: e_j = 0 exactly)
//   l  = l * alpha + sum_j e_j     (one multiply-add; the sum: 16 lanes by slot % 16, ascending, then the tree of
//                                   ref::sum_16_lanes)
//   u_d = u_d * alpha + chain_j e_j v_jd   (chain: multiply-add over slots ascending from 0; then one multiply-add with
//                                           alpha)
// In the end o = u / l + 0 and lse = m + log(l). Start: m = the lowest finite number, l = 0, u = 0.
// A row without keys gives o = 0, lse = -inf.
// Masked, padded and unwritten slots change no bit, wherever the block's other end lies; exp is ref::exp; every
// multiply-add rounds as the active instruction set does (isa.h). The `+ 0` turns -0 into 0, so that no sign of an
// underflow depends on how many masked slots a kernel visits.
//
// Dtypes of q, k, v, o: f64 and f32 as above. f16: they become f32 and all is as in f32; o is rounded once. bf16:
// - chains go over pairs (2 i, 2 i + 1) of d, slots, rows or keys, counted in the sequence: the odd product is added
//   first, then the even one (VDPBF16PS), in f32. Subnormals are zero throughout. What a pair lacks counts as zeros.
// - weights are powers of 2: s_j, m are in units of ln 2 (c holds log2 e), e_j = exp2(multiply_add(c, dot, -m')),
//   alpha = exp2(m - m'), ref::exp2; lse = multiply_add(m, ln 2, log(l)). l sums e_j as it is, chains take it rounded.
// - o is rounded once. Backward: P = exp2(multiply_add(c, dot, -lse log2 e)); P and c dS are rounded for the products.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "gradus/core/tensor.h"

namespace gradus::kernels {

inline constexpr int64_t kKeyBlock = 64;      // positions per block and per page: two L1-resident tiles at head size 64
inline constexpr int64_t kMaxHeadSize = 256;  // scratch tiles are sized for it

struct AttentionShape {
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_size = 0;
  double scale = 0;  // usually 1 / sqrt(head_size)
  // A row at position p sees the keys at p - left .. p + right; negative = no limit on that side.
  // Causal: {-1, 0}. Full: {-1, -1}. Sliding window of w keys, the row's own included: {w - 1, 0}.
  int64_t left = -1;
  int64_t right = 0;
};

// Rows of a packed batch. Sequence s owns rows [row_offsets[s], row_offsets[s + 1]); row r sits at key_positions[r] of
// its sequence, ascending by 1 inside a sequence. A negative position is one without a key of its own: with n rows for
// m < n keys, aligned at their ends, the first row sits at m - n.
// Sequence s has key_offsets[s + 1] - key_offsets[s] keys, at positions 0, 1, 2, ...; without key_offsets it has those
// up to its last row's position. Page block_table[s * max_blocks + b] holds positions [64 b, 64 b + 64) of sequence s;
// entries past its last key's block are never read. Sequences may share pages of positions that none of them stores to.
struct AttentionLayout {
  std::span<const int32_t> row_offsets;    // [n_sequences + 1], starts with 0, ends with rows
  std::span<const int32_t> key_positions;  // [rows]
  std::span<const int32_t> block_table;    // [n_sequences * max_blocks]
  int64_t max_blocks = 0;
  std::span<const int32_t> key_offsets = {};  // [n_sequences + 1], starts with 0; or empty

  int64_t n_sequences() const { return static_cast<int64_t>(row_offsets.size()) - 1; }
  int64_t n_keys(int64_t s) const {
    if (!key_offsets.empty()) return key_offsets[s + 1] - key_offsets[s];
    return row_offsets[s] == row_offsets[s + 1] ? 0 : std::max(0, key_positions[row_offsets[s + 1] - 1] + 1);
  }
};

// The keys [begin, end) that a row at `position` of a sequence of n_keys keys sees. Neither bound ever falls as the
// position rises.
struct KeyRange {
  int64_t begin = 0, end = 0;
};
inline KeyRange visible_keys(const AttentionShape& shape, int64_t position, int64_t n_keys) {
  const int64_t end = shape.right < 0 ? n_keys : std::clamp<int64_t>(position + shape.right + 1, 0, n_keys);
  return {shape.left < 0 ? 0 : std::clamp<int64_t>(position - shape.left, 0, end), end};
}

// Keys and values in pages of kKeyBlock positions.
//   keys    [n_pages, G, D, 64]   the positions of a page are the fast axis    bf16: [n_pages, G, D / 2, 64 * 2]
//   values  [n_pages, G, 64, D]                                                bf16: [n_pages, G, 64 / 2, D * 2]
// In bf16 the two numbers of a pair, of d in keys and of slots in values, stand side by side.
struct KeyValuePages {
  Tensor keys;
  Tensor values;
};

// Uninitialised pages. dtype f64 | f32 | bf16 | f16. Throws invalid_argument on an impossible shape, exhausted when
// memory is.
KeyValuePages make_key_value_pages(int64_t n_pages, const AttentionShape& shape, DType dtype);

// Stores rows k, v [rows, G * D] at their positions' slots (rows at negative positions nowhere); other slots keep their
// values. Throws invalid_argument on a shape, dtype or layout mismatch, unsupported on another device than the CPU;
// then nothing was stored.
void store_keys_values(const Tensor& k, const Tensor& v, const AttentionLayout& layout, const AttentionShape& shape,
                       KeyValuePages& pages);

// o[r, h, :] as above.   q [rows, H * D], o [rows, H * D] dtype of q; lse [rows, H] f32 (f64 for f64). o must not
// overlap q. The keys and values of every visible position must have been stored and be finite; all other slots may
// hold anything. f64, and every dtype under Isa::ref, runs on the scalar reference. Otherwise rows run in parallel;
// results do not depend on the thread count, on the other rows, or on how rows are cut into calls. Throws as
// store_keys_values. Cost: 4 D FLOP per head, row and visible key.
void attention_forward(const Tensor& q, const KeyValuePages& pages, const AttentionLayout& layout,
                       const AttentionShape& shape, Tensor& o, Tensor& lse);

// What the rows of a tree of drafted tokens see, for speculative verification: the keys that sequence s has stored,
// positions [0, prefix_lengths[s]), and below them their own ancestors and themselves. parents[r] is the row of r's
// parent, counted from the sequence's first row and before r; -1 below the prefix itself.
struct AttentionTree {
  std::span<const int32_t> prefix_lengths;  // [n_sequences]
  std::span<const int32_t> parents;         // [rows]
};
inline constexpr int64_t kMaxTreeNodes = 256;  // of one sequence

// o and lse of every node: the bits that attention_forward gives the last row of the sequence that ends in the node's
// path. Its keys and values are rows of k and v, not stored anywhere, and take the slots of their true positions.
//   k, v [rows, G * D]; layout.row_offsets and block_table as above, key_positions and key_offsets are not read.
// Windows hold too; right must be 0. Throws invalid_argument on a shape, dtype or layout mismatch, a parent that is not
// before its child, or more than kMaxTreeNodes rows for a sequence.
void attention_tree(const Tensor& q, const Tensor& k, const Tensor& v, const KeyValuePages& pages,
                    const AttentionLayout& layout, const AttentionTree& tree, const AttentionShape& shape, Tensor& o,
                    Tensor& lse);

// Bytes that a forward and a backward over `rows` rows take beyond their inputs and outputs, whatever the number of
// keys: lse, D_i of the backward, and each thread's scratch.
int64_t attention_workspace_bytes(int64_t rows, const AttentionShape& shape, int64_t threads);

// Gradients of a forward over all keys at once, recomputing the weights from lse:
//   P = exp(S - lse), D_i = sum_d dO O, dV = P^T dO, dS = P (dO V^T - D), dQ = c dS K, dK = c dS^T Q.
//   k, v [keys, G * D], sequence s in rows [key_offsets[s], key_offsets[s + 1]); without key_offsets the rows are the
//   keys, at positions 0, 1, 2, ...; o, lse as the forward left them; d_o [rows, H * D].
//   d_q, d_k, d_v f32 (f64 for f64): overwritten, overlap nothing.
// Pages are not read: block_table may be empty. Sums over rows and over the heads of a group run ascending, heads
// outermost: the same bits for every thread count. Throws as store_keys_values. Cost: 10 D FLOP per head, row and
// visible key.
void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o, const Tensor& lse,
                        const Tensor& d_o, const AttentionLayout& layout, const AttentionShape& shape, Tensor& d_q,
                        Tensor& d_k, Tensor& d_v);

}  // namespace gradus::kernels
