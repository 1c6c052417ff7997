// The decoder of the Llama, Mistral and Qwen families: pre-norm blocks of rotary grouped-query attention and SwiGLU.
// One definition serves training, prefill and decoding; which one is the tape's mode and the cache's presence.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "gradus/autograd/ops.h"
#include "gradus/core/tensor_arena.h"
#include "gradus/nn/precision.h"
#include "gradus/nn/token_batch.h"
#include "gradus/nn/transformer_config.h"

namespace gradus::nn {

using autograd::LinearWeights;
using autograd::Parameter;
using autograd::Tape;
using autograd::Var;

// Pages of keys and values, one set per layer; a sequence's block table numbers the same pages in all layers.
struct KeyValueCache {
  std::vector<kernels::KeyValuePages> layers;
  int64_t n_pages = 0;
  // Of the last pass's trees, [tree rows, G * D] in each layer: in no page until `keep_drafted`.
  std::vector<Tensor> drafted_keys, drafted_values;

  // Stores the keys and values of these rows of the trees, in their layout's order, at its positions.
  void keep_drafted(std::span<const int32_t> rows, const kernels::AttentionLayout& layout,
                    const kernels::AttentionShape& shape);
  // Page `to` becomes a copy of `from`.
  void copy_page(int32_t from, int32_t to);
};

// Gives the weights of the parameter `name` in `dtype`, as a tensor of `shape` that the transformer may write to.
using WeightSource = std::function<Tensor(const std::string& name, const Shape& shape, DType dtype)>;

struct TransformerOptions {
  Precision precision = Precision::fp32;
  WeightSource weights = {};  // none: they are zero until `initialise` or a loader fills them
  bool masters = true;        // where the precision has them; a model that is only read needs none
};

class Transformer {
 public:
  // Gradients are there from `allocate_gradients` on.
  explicit Transformer(const TransformerConfig& config, const TransformerOptions& options = {});
  Transformer(const TransformerConfig& config, Precision precision) : Transformer(config, {.precision = precision}) {}
  Transformer(const Transformer&) = delete;
  Transformer& operator=(const Transformer&) = delete;

  const TransformerConfig& config() const { return config_; }
  const PrecisionFormats& precision() const { return formats_; }

  // Normal weights with std 1/sqrt(fan in); those that write into the residual stream are further divided by sqrt(2
  // layers) (Radford et al. 2019, section 2.3), and the embedding is 3/sqrt(width): with the usual 0.02 the first
  // blocks drown the token's own vector, and `chain` takes several times the tokens (docs/chain.md). Gains 1, biases 0.
  // Streams: Rng(seed, init, index).
  void initialise(uint64_t seed);

  // All weights in a fixed order, with the names of a Hugging Face checkpoint.
  const std::vector<Parameter*>& parameters() const { return order_; }
  Parameter& embedding_table() { return *embedding_; }
  Parameter& head() { return config_.tie_embeddings ? *embedding_ : *head_; }

  void allocate_gradients();
  // Gives the memory of master copies back: for a model that is only read.
  void drop_master_weights();

  // Final hidden states [rows, width], normalised, ready for the output head. Throws invalid_argument on an id or
  // position out of range.
  Var hidden(Tape& tape, const TokenBatch& batch, KeyValueCache* cache = nullptr);

  // x W_head^T -> [n, n_vocab] for the given rows of `hidden`, in the precision's `vectors`; inference.
  Tensor logits(const Tensor& hidden);

  KeyValueCache make_cache(int64_t n_pages) const;
  kernels::AttentionShape attention_shape(int64_t layer) const;

 private:
  struct Layer {
    Parameter *input_norm, *q, *k, *v, *o, *post_norm, *gate, *up, *down;
    Parameter *q_bias = nullptr, *k_bias = nullptr, *v_bias = nullptr, *o_bias = nullptr;
    Parameter *q_norm = nullptr, *k_norm = nullptr;
    Parameter *gate_bias = nullptr, *up_bias = nullptr, *down_bias = nullptr;
  };
  Parameter* make_parameter(std::string name, Shape shape, const TransformerOptions& options);
  void extend_rope(const TokenBatch& batch);
  Var block(Var x, int64_t layer, const TokenBatch& batch, KeyValueCache* cache);

  TransformerConfig config_;
  PrecisionFormats formats_;
  TensorArena matrices_;
  std::deque<Parameter> storage_;
  std::vector<Parameter*> order_;
  std::vector<Layer> layers_;
  Parameter *embedding_ = nullptr, *final_norm_ = nullptr, *head_ = nullptr;
  kernels::RopeTable rope_;  // of the positions met so far: a model may have room for 100,000s of them
};

}  // namespace gradus::nn
