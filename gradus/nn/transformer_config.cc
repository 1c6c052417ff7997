#include "gradus/nn/transformer_config.h"

#include "gradus/core/error.h"

namespace gradus::nn {

TransformerConfig TransformerConfig::resolved() const {
  TransformerConfig c = *this;
  require(layers >= 1 && width >= 1 && heads >= 1 && n_vocab >= 1 && max_positions >= 1,
          "model: layers {}, width {}, heads {}, n_vocab {}, max_positions {} must all be at least 1", layers, width,
          heads, n_vocab, max_positions);
  require(kv_heads >= 0 && head_size >= 0 && ffn_width >= 0,
          "model: kv_heads {}, head_size {}, ffn_width {} must not be negative", kv_heads, head_size, ffn_width);
  if (c.kv_heads == 0) c.kv_heads = heads;
  if (c.head_size == 0) {
    require(width % heads == 0, "model: heads {} do not divide width {}; choose another count or set head_size", heads,
            width);
    c.head_size = width / heads;
  }
  if (c.ffn_width == 0) c.ffn_width = (8 * width / 3 + 31) / 32 * 32;
  require(heads % c.kv_heads == 0, "model: kv_heads {} do not divide heads {}", c.kv_heads, heads);
  require(c.head_size % 8 == 0 && c.head_size <= 256,
          "model: head_size {} is not a multiple of 8 up to 256; change width or heads", c.head_size);
  require(rope_theta > 0 && norm_eps > 0, "model: rope_theta {} and norm_eps {} must be positive", rope_theta,
          norm_eps);
  require(window >= 0, "model: window {} must not be negative", window);
  require(windowed_layers.empty() || static_cast<int64_t>(windowed_layers.size()) == layers,
          "model: {} layers are said to have a window or none, but there are {}", windowed_layers.size(), layers);
  kernels::rope_frequencies(c.head_size, rope_theta, rope_scaling);  // throws on an impossible rotation
  return c;
}

int64_t TransformerConfig::n_vector_parameters() const {
  const TransformerConfig c = resolved();
  const int64_t q = c.heads * c.head_size, kv = c.kv_heads * c.head_size;
  const int64_t biases =
      (c.qkv_bias ? q + 2 * kv : 0) + (c.o_bias ? c.width : 0) + (c.mlp_bias ? 2 * c.ffn_width + c.width : 0);
  return c.layers * (2 * c.width + biases + (c.qk_norm ? 2 * c.head_size : 0)) + c.width;
}

int64_t TransformerConfig::n_parameters() const {
  const TransformerConfig c = resolved();
  const int64_t q = c.heads * c.head_size, kv = c.kv_heads * c.head_size;
  const int64_t layer = c.width * (q + 2 * kv) + q * c.width + 3 * c.width * c.ffn_width;
  return c.layers * layer + c.n_vocab * c.width * (c.tie_embeddings ? 1 : 2) + c.n_vector_parameters();
}

}  // namespace gradus::nn
