// Root-mean-square normalisation of rows (Zhang & Sennrich 2019, "Root Mean Square Layer Normalization", eq. 4),
// forward and backward. Layer normalisation is not here.
//
// Notation: rows r, C model width. Row sums run in 16 lanes by column % 16, ascending, then the tree of
// ref::sum_16_lanes; every `*+` below is one multiply-add of the active instruction set (isa.h).
#pragma once

#include <cstdint>

#include "gradus/core/tensor.h"

namespace gradus::kernels {

inline constexpr int64_t kNormRowChunk = 64;  // rows per partial sum of d_gain: a task of 8k elements at C = 128

// inv_r = 1 / sqrt(sum_j x_rj^2 / C + eps),   y_rj = (x_rj * inv_r) * gain_j.
//   x        [rows, C]  f64 | f32 | bf16 | f16
//   gain     [C]        f32 (f64 beside f64)
//   eps      > 0, rounded to gain's dtype
//   y        [rows, C]  dtype of x; may be x itself
//   inv_rms  [rows]     dtype of gain; for the backward
// 16-bit numbers are widened, computed on in f32, and rounded once where they are stored.
// A row depends on no other row. Throws invalid_argument on a shape or dtype mismatch, unsupported on other dtypes.
void rms_norm(const Tensor& x, const Tensor& gain, double eps, Tensor& y, Tensor& inv_rms);

// With u = d_y * gain and inv_r as the forward left it:
//   c_r     = sum_j (u_rj * x_rj) * inv_r * inv_r * inv_r / C          (left to right)
//   d_x_rj  = -c_r *+ x_rj, onto inv_r * u_rj
//   d_gain_j += sum_r d_y_rj * (x_rj * inv_r): one multiply-add chain per chunk of kNormRowChunk rows, ascending from
//   0;
//               the chunks are added to d_gain one by one, ascending. The same bits for every thread count.
//   x, d_y   [rows, C];  gain [C];  inv_rms [rows]
//   d_x      [rows, C]  overwritten; may be d_y itself
//   d_gain   [C]        accumulated into
void rms_norm_backward(const Tensor& x, const Tensor& gain, const Tensor& inv_rms, const Tensor& d_y, Tensor& d_x,
                       Tensor& d_gain);

}  // namespace gradus::kernels
