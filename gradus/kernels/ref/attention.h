// Scalar attention: the text of gradus/kernels/attention.h as loops, the oracle of the vector kernels. Arguments are
// those of that header, already validated. T is double, float, BFloat16 or Float16. For BFloat16 the caller holds
// FlushDenormals.
#pragma once

#include "gradus/kernels/attention.h"

namespace gradus::kernels::ref {

// Where element d of a slot stands in a page's keys and values.
template <class T>
struct PageIndex {
  int64_t D;
  int64_t key(int64_t d, int64_t slot) const { return d * kKeyBlock + slot; }
  int64_t value(int64_t d, int64_t slot) const { return slot * D + d; }
};
template <>
struct PageIndex<BFloat16> {
  int64_t D;
  int64_t key(int64_t d, int64_t slot) const { return (d / 2 * kKeyBlock + slot) * 2 + d % 2; }
  int64_t value(int64_t d, int64_t slot) const { return (slot / 2 * D + d) * 2 + slot % 2; }
};

template <class T>
void store_keys_values(const Tensor& k, const Tensor& v, const AttentionLayout& layout, const AttentionShape& shape,
                       KeyValuePages& pages);

// key_block: another divisor of 64 gives other bits; for the test that sees that this matters.
template <class T>
void attention_forward(const Tensor& q, const KeyValuePages& pages, const AttentionLayout& layout,
                       const AttentionShape& shape, Tensor& o, Tensor& lse, int64_t key_block = kKeyBlock);

template <class T>
void attention_tree(const Tensor& q, const Tensor& k, const Tensor& v, const KeyValuePages& pages,
                    const AttentionLayout& layout, const AttentionTree& tree, const AttentionShape& shape, Tensor& o,
                    Tensor& lse);

template <class T>
void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o, const Tensor& lse,
                        const Tensor& d_o, const AttentionLayout& layout, const AttentionShape& shape, Tensor& d_q,
                        Tensor& d_k, Tensor& d_v);

}  // namespace gradus::kernels::ref
