// Rotary position embedding (Su et al. 2021, "RoFormer", eq. 15) in the pairing of Hugging Face's rotate_half:
// element i of a head is rotated with element i + D/2, not with its neighbour.
//
// Notation: D head size; for position p and pair i < D/2 the angle is p * theta^(-2i / D).
#pragma once

#include <cstdint>
#include <span>

#include "gradus/core/tensor.h"

namespace gradus::kernels {

// cos, sin  [max_positions, D/2]  f32 | f64. Computed in double, then rounded.
struct RopeTable {
  Tensor cos;
  Tensor sin;
};

// head_size even and > 0, theta > 0, max_positions >= 0; otherwise throws invalid_argument. dtype f32 | f64.
RopeTable make_rope_table(int64_t max_positions, int64_t head_size, double theta, DType dtype = DType::f32);

// In place, for each row and head, with a = x[i], b = x[i + D/2], c, s the table's row of the position:
//   x[i] = a c - b s,   x[i + D/2] = b c + a s       (the product with c rounds first, then one multiply-add)
//   x          [rows, heads * D]  dtype of the table, or bf16 | f16 beside f32 (rounded once where it is stored); D is
//              twice the table's columns
//   positions  [rows], each in [0, max_positions)
// Throws invalid_argument on a mismatch or a position outside the table.
void rope(Tensor& x, std::span<const int32_t> positions, int64_t heads, const RopeTable& table);

// The inverse rotation (that of -s), in place: d_x holds dL/d(rotated x) before and dL/dx after.
void rope_backward(Tensor& d_x, std::span<const int32_t> positions, int64_t heads, const RopeTable& table);

}  // namespace gradus::kernels
