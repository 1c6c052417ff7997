// Attention in T = float, BFloat16 or Float16 with Highway: the same bits as gradus/kernels/ref/attention.h on every
// instruction set, forward and backward. Arguments are those of gradus/kernels/attention.h, already validated. Scratch
// lives on the stack.
#pragma once

#include <type_traits>

#include "gradus/kernels/attention.h"

namespace gradus::kernels::cpu {

// Whether a dtype's arithmetic treats subnormals as zero (flush_denormals.h), as products of bf16 pairs do.
template <class T>
inline constexpr bool kFlushes = std::is_same_v<T, BFloat16>;

template <class T>
void store_keys_values(const Tensor& k, const Tensor& v, const AttentionLayout& layout, const AttentionShape& shape,
                       KeyValuePages& pages);

// Query rows of one tile, a pair (row, head of the group) each: eight register tiles of six. Their scores (12 KiB) stay
// in the L1 cache beside half a page of keys or values.
inline constexpr int64_t kTileRows = 48;

// Scratch of one thread, on its stack.
int64_t forward_scratch_bytes();
int64_t backward_scratch_bytes();

// Tasks are runs of tiles: up to kTileRows (row, head) pairs that share a sequence and a key/value head.
template <class T>
void attention_forward(const Tensor& q, const KeyValuePages& pages, const AttentionLayout& layout,
                       const AttentionShape& shape, Tensor& o, Tensor& lse);

template <class T>
void attention_tree(const Tensor& q, const Tensor& k, const Tensor& v, const KeyValuePages& pages,
                    const AttentionLayout& layout, const AttentionTree& tree, const AttentionShape& shape, Tensor& o,
                    Tensor& lse);

// One task per sequence and key/value head.
template <class T>
void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o, const Tensor& lse,
                        const Tensor& d_o, const AttentionLayout& layout, const AttentionShape& shape, Tensor& d_q,
                        Tensor& d_k, Tensor& d_v);

}  // namespace gradus::kernels::cpu
