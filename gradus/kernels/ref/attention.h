// Scalar attention: the text of gradus/kernels/attention.h as loops, the oracle of the vector kernels. Arguments are
// those of that header, already validated. T is float or double, the dtype of every tensor.
#pragma once

#include "gradus/kernels/attention.h"

namespace gradus::kernels::ref {

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
