// Rotary position embedding (Su et al. 2021, "RoFormer", eq. 15) in the pairing of Hugging Face's rotate_half:
// element i of a head is rotated with element i + D/2, not with its neighbour.
//
// Notation: D head size; for position p and pair i < D/2 the angle is p * f_i, with f_i = theta^(-2i / D) unless a
// model was stretched to longer texts than it was first trained on (RopeScaling).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "gradus/core/tensor.h"

namespace gradus::kernels {

// How the frequencies f_i of a model were stretched, by the names of `transformers`. With g_i = theta^(-2i / D), the
// wavelength w_i = 2 pi / g_i and o = original_positions:
//   linear   f_i = g_i / factor                                                    (Chen et al. 2023, arXiv 2306.15595)
//   yarn     f_i = g_i (1 - r_i) + g_i / factor * r_i,   r_i = clamp((i - low) / (high - low), 0, 1), where low and
//   high
//            are the pairs that turn beta_fast and beta_slow times over o positions: D ln(o / (2 pi beta)) / (2 ln
//            theta), rounded down and up if `truncate`. cos and sin are multiplied by attention_factor, or, when that
//            is 0, by 0.1 ln(factor) + 1                           (Peng et al. 2023, arXiv 2309.00071, section 3.2 and
//            eq. (22))
//   llama3   f_i = g_i where w_i < o / high_freq_factor;  g_i / factor where w_i > o / low_freq_factor;  between them
//            (1 - t) g_i / factor + t g_i, t = (o / w_i - low_freq_factor) / (high_freq_factor - low_freq_factor)
// Dynamic NTK scaling is none of these: up to the positions that a model was trained on it changes nothing, and beyond
// them angles would depend on the length of the text, so that a key in a cache would have to be turned again.
enum class RopeType : uint8_t { standard, linear, yarn, llama3 };
struct RopeScaling {
  RopeType type = RopeType::standard;
  double factor = 1;              // >= 1
  double original_positions = 0;  // > 0 for yarn and llama3
  double attention_factor = 0;    // >= 0
  double beta_fast = 32, beta_slow = 1;
  bool truncate = true;
  double low_freq_factor = 1, high_freq_factor = 4;

  bool operator==(const RopeScaling&) const = default;
};

// f_0 .. f_{D/2-1}, and what cos and sin are multiplied by. Throws invalid_argument, naming the value, on a head size
// that is not even and positive, a theta that is not finite and positive, or a scaling outside the ranges above.
struct RopeFrequencies {
  std::vector<double> per_position;
  double amplitude = 1;
};
RopeFrequencies rope_frequencies(int64_t head_size, double theta, const RopeScaling& scaling = {});

// cos, sin  [max_positions, D/2]  f32 | f64, with the amplitude. Computed in double, then rounded.
struct RopeTable {
  Tensor cos;
  Tensor sin;
};

// max_positions >= 0; otherwise, and where rope_frequencies does, throws invalid_argument. dtype f32 | f64. A longer
// table begins with the rows of a shorter one.
RopeTable make_rope_table(int64_t max_positions, int64_t head_size, double theta, DType dtype = DType::f32,
                          const RopeScaling& scaling = {});

// In place, for each row and head, with a = x[i], b = x[i + D/2], c, s the table's row of the position:
//   x[i] = a c - b s,   x[i + D/2] = b c + a s       (the product with c rounds first, then one multiply-add)
//   x          [rows, heads * D]  dtype of the table, or bf16 | f16 beside f32 (rounded once where it is stored); D is
//              twice the table's columns
//   positions  [rows], each in [0, max_positions)
// Throws invalid_argument on a mismatch or a position outside the table.
void rope(Tensor& x, std::span<const int32_t> positions, int64_t heads, const RopeTable& table);

// The same with -s, in place, which is the transposed map: d_x holds dL/d(rotated x) before and dL/dx after.
void rope_backward(Tensor& d_x, std::span<const int32_t> positions, int64_t heads, const RopeTable& table);

}  // namespace gradus::kernels
