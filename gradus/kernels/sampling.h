// Draws a token per row of logits and records its log-probability. Where the uniforms come from (a counter keyed by
// sequence and position) is the caller's business.
#pragma once

#include <cstdint>
#include <span>

#include "gradus/core/tensor.h"

namespace gradus::kernels {

// temperature > 0: the first id whose cumulative probability sum_{j <= id} p_j exceeds u, with p_j as in softmax.h and
// the
//   sum one ascending chain in double; if rounding leaves none, the last id with p_j > 0. A masked id (-inf) is never
//   drawn.
// temperature = 0: the largest logit, the lowest id among equals.
// Only the first n_drawn ids are drawn, with their probabilities among themselves; the others may hold -inf.
// log_prob is that of softmax.h's `log_prob` for (logits, id, temperature), bit for bit, computed by the same code; at
// temperature 0 it is that of temperature 1. All n_vocab ids have a part in it.
//   logits    [rows, n_vocab]  f32 | f64, n_vocab >= 1
//   uniforms  [rows] in [0, 1); not read, and may be empty, at temperature 0
//   ids, log_prob  [rows]  overwritten; of f64 logits the log-probability is rounded to float
// Rows run in parallel and depend on nothing but their own logits and u. Throws invalid_argument on a size mismatch or
// a negative temperature, diverged when a row holds NaN, +inf, or nothing but -inf (the outputs are then unspecified).
void sample_tokens(const Tensor& logits, double temperature, std::span<const float> uniforms, std::span<int32_t> ids,
                   std::span<float> log_prob, int64_t n_drawn);
// The same with n_drawn = n_vocab.
void sample_tokens(const Tensor& logits, double temperature, std::span<const float> uniforms, std::span<int32_t> ids,
                   std::span<float> log_prob);

// One draw of many, each as above at a temperature of its own.
struct TokenDraw {
  int64_t row = 0;  // of the logits
  double temperature = 1;
  float uniform = 0;  // in [0, 1); not read at temperature 0
  int32_t id = -1;    // the result
  float log_prob = 0;
};
void sample_tokens(const Tensor& logits, std::span<TokenDraw> draws, int64_t n_drawn);

}  // namespace gradus::kernels
