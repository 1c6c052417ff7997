// Rows of a table by id, and the gradient of that.
#pragma once

#include <cstdint>
#include <span>

#include "gradus/core/tensor.h"

namespace gradus::kernels {

// y[r, :] = weight[ids[r], :].
//   ids     [rows], each in [0, n_vocab)
//   weight  [n_vocab, C]  f64 | f32 | bf16 | f16
//   y       [rows, C]     dtype of weight, does not overlap it
// Throws invalid_argument on an id outside the table or a shape or dtype mismatch; nothing is written then.
void embedding(std::span<const int32_t> ids, const Tensor& weight, Tensor& y);

// d_weight[ids[r], :] += d_y[r, :], rows ascending: the same bits for every thread count.
//   d_y       [rows, C]     f64 | f32 | bf16 | f16
//   d_weight  [n_vocab, C]  f32 (f64 beside f64), accumulated into
void embedding_backward(std::span<const int32_t> ids, const Tensor& d_y, Tensor& d_weight);

}  // namespace gradus::kernels
