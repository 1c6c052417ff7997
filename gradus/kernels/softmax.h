// Softmax of rows, and the row operations of the output head: log-probability of given ids under a temperature.
//
// Notation for a row z of n_vocab logits at temperature T, with inv = 1 / T rounded to the dtype of z:
//   s_j = z_j * inv,   m = max_j s_j,   lse = m + log(sum_j exp(s_j - m)),   p_j = exp(s_j - lse)
// exp is ref::exp, log is std::log. Sums run in 16 lanes by column % 16, ascending, then the tree of ref::sum_16_lanes:
// a row's result depends on that row and n_vocab alone.
#pragma once

#include <cstdint>
#include <span>

#include "gradus/core/tensor.h"

namespace gradus::kernels {

// y[i,j] = exp(x[i,j] - m_i) * (1 / sum_k exp(x[i,k] - m_i)),  m_i = max_k x[i,k]
//   x  [rows, cols]  f32 | f64; -inf = masked, NaN not allowed
//   y  [rows, cols]  dtype of x; may be x itself
// A row of only -inf gives zeros. Throws invalid_argument on a shape or dtype mismatch, unsupported on other dtypes.
void softmax(const Tensor& x, Tensor& y);

// log_p[r] = s_id - lse of row r, id = ids[r].
//   logits       [rows, n_vocab]  f32 | f64; -inf = masked, at least one finite per row
//   ids          [rows], each in [0, n_vocab)
//   temperature  > 0
//   log_p, lse   [rows]  dtype of logits
// A NaN or +inf logit makes its row's log_p NaN, for the caller to find. Throws invalid_argument on a mismatch, an id
// outside the vocabulary or a temperature that is not positive and finite.
void log_prob(const Tensor& logits, std::span<const int32_t> ids, double temperature, Tensor& log_p, Tensor& lse);

// In place: `logits` holds z as the forward read it, and dL/dz afterwards. With g = d_log_p[r] * inv:
//   dz_j = -(g * p_j);   dz_id = g + dz_id after that.   A row with g = 0 gives exact zeros without reading z.
//   lse [rows] as log_prob left it, d_log_p [rows]; both of the dtype of logits
void log_prob_backward(Tensor& logits, std::span<const int32_t> ids, double temperature, const Tensor& lse,
                       const Tensor& d_log_p);

}  // namespace gradus::kernels
