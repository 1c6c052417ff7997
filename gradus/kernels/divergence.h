// How far a distribution is from a teacher's, both as logits: what a model learns from another model's opinion.
#pragma once

#include "gradus/core/tensor.h"

namespace gradus::kernels {

// y[r] = KL(p || q) = sum_j p_j (log p_j - log q_j), p = softmax(teacher[r]), q = softmax(logits[r]); sums in double,
// ascending.
//   teacher, logits  [rows, n_vocab]  f32 | f64; all finite
//   y                [rows]  dtype of logits
// Throws invalid_argument on a mismatch.
void divergence(const Tensor& teacher, const Tensor& logits, Tensor& y);

// In place: `logits` holds what the forward read, and dL/dlogits = d_y[r] * (q - p) afterwards; the teacher is
// constant.
void divergence_backward(const Tensor& teacher, Tensor& logits, const Tensor& d_y);

}  // namespace gradus::kernels
