// The shape of a decoder of the Llama, Mistral and Qwen families. Reading and writing it as a Hugging Face config.json
// lives in gradus/lm.
#pragma once

#include <cstdint>
#include <vector>

#include "gradus/kernels/rope.h"

namespace gradus::nn {

struct TransformerConfig {
  int64_t layers = 4;
  int64_t width = 128;           // hidden_size
  int64_t heads = 4;             // num_attention_heads
  int64_t kv_heads = 0;          // num_key_value_heads; 0 = heads
  int64_t head_size = 0;         // head_dim; 0 = width / heads
  int64_t ffn_width = 0;         // intermediate_size; 0 = 8/3 width, rounded up to a multiple of 32
  int64_t n_vocab = 0;           // vocab_size
  int64_t max_positions = 2048;  // max_position_embeddings
  double rope_theta = 10000.0;
  double norm_eps = 1e-6;      // rms_norm_eps
  bool qkv_bias = false;       // Qwen2: true
  bool tie_embeddings = true;  // tie_word_embeddings
  kernels::RopeScaling rope_scaling = {};
  bool o_bias = false;                     // with qkv_bias: "attention_bias" of Llama and Qwen3
  bool mlp_bias = false;                   // on gate, up and down
  bool qk_norm = false;                    // Qwen3: each head of q and k is normalised before it is rotated
  int64_t window = 0;                      // sliding_window: keys that a row sees, its own included; 0 = all
  std::vector<bool> windowed_layers = {};  // [layers] which have the window; empty = all

  bool has_window(int64_t layer) const {
    return window > 0 && (windowed_layers.empty() || windowed_layers[static_cast<size_t>(layer)]);
  }

  // A copy with every 0 that stands for a default replaced. Throws invalid_argument, naming both values, when heads do
  // not divide width, kv_heads do not divide heads, head_size is not a multiple of 8 in 8..256, a count is not
  // positive, or the rotation is one that rope_frequencies refuses.
  TransformerConfig resolved() const;

  int64_t n_parameters() const;         // of resolved(), tied head counted once
  int64_t n_vector_parameters() const;  // of these, gains and biases
};

}  // namespace gradus::nn
