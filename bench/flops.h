// How the benchmarks count: useful floating point operations of the model, not what kernels happen to execute.
//   A multiply-add is 2. A matrix [out, in] costs 2 * out * in for each row that goes through it; the output head only
//   for rows whose logits are needed. Attention costs 4 * D for each head, row and key it sees (causal: position + 1
//   keys). A backward pass counts as twice its forward. What is recomputed in it (logits, attention weights) is not
//   counted again, and neither are norms, activations, rotations, softmax and the optimiser: they take time and earn
//   nothing.
#pragma once

#include <cstdint>

#include "gradus/nn/transformer_config.h"

namespace gradus::bench {

struct ForwardWork {
  int64_t rows = 0;          // tokens read
  int64_t head_rows = 0;     // rows whose logits are needed
  int64_t visible_keys = 0;  // sum over rows of position + 1

  // Rows at positions first .. first + n - 1 of a sequence.
  void add_rows(int64_t first, int64_t n) {
    rows += n;
    visible_keys += n * first + n * (n + 1) / 2;
  }
};

inline double forward_flops(const nn::TransformerConfig& model, const ForwardWork& work) {
  const nn::TransformerConfig c = model.resolved();
  const int64_t q_width = c.heads * c.head_size, kv_width = c.kv_heads * c.head_size;
  const int64_t layer_matrices = 2 * c.width * q_width + 2 * c.width * kv_width + 3 * c.width * c.ffn_width;
  const double matrices = 2.0 * static_cast<double>(c.layers * layer_matrices) * static_cast<double>(work.rows);
  const double head = 2.0 * static_cast<double>(c.width * c.n_vocab) * static_cast<double>(work.head_rows);
  const double attention = 4.0 * static_cast<double>(c.layers * q_width) * static_cast<double>(work.visible_keys);
  return matrices + head + attention;
}

}  // namespace gradus::bench
