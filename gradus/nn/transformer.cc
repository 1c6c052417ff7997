#include "gradus/nn/transformer.h"

#include <algorithm>
#include <cmath>

#include "gradus/core/rng.h"
#include "gradus/kernels/convert.h"
#include "gradus/kernels/elementwise.h"

namespace gradus::nn {

Transformer::Transformer(const TransformerConfig& config, Precision precision)
    : config_(config.resolved()), formats_(formats(precision)), matrices_(formats_.matrices) {
  const TransformerConfig& c = config_;
  const int64_t q_width = c.heads * c.head_size, kv_width = c.kv_heads * c.head_size;
  embedding_ = make_parameter("model.embed_tokens.weight", {c.n_vocab, c.width});
  for (int64_t i = 0; i < c.layers; ++i) {
    const std::string at = fmt::format("model.layers.{}.", i);
    Layer layer{};
    layer.input_norm = make_parameter(at + "input_layernorm.weight", {c.width});
    layer.q = make_parameter(at + "self_attn.q_proj.weight", {q_width, c.width});
    layer.k = make_parameter(at + "self_attn.k_proj.weight", {kv_width, c.width});
    layer.v = make_parameter(at + "self_attn.v_proj.weight", {kv_width, c.width});
    if (c.qkv_bias) {
      layer.q_bias = make_parameter(at + "self_attn.q_proj.bias", {q_width});
      layer.k_bias = make_parameter(at + "self_attn.k_proj.bias", {kv_width});
      layer.v_bias = make_parameter(at + "self_attn.v_proj.bias", {kv_width});
    }
    layer.o = make_parameter(at + "self_attn.o_proj.weight", {c.width, q_width});
    layer.post_norm = make_parameter(at + "post_attention_layernorm.weight", {c.width});
    layer.gate = make_parameter(at + "mlp.gate_proj.weight", {c.ffn_width, c.width});
    layer.up = make_parameter(at + "mlp.up_proj.weight", {c.ffn_width, c.width});
    layer.down = make_parameter(at + "mlp.down_proj.weight", {c.width, c.ffn_width});
    layers_.push_back(layer);
  }
  final_norm_ = make_parameter("model.norm.weight", {c.width});
  if (!c.tie_embeddings) head_ = make_parameter("lm_head.weight", {c.n_vocab, c.width});
  rope_ = kernels::make_rope_table(c.max_positions, c.head_size, c.rope_theta, formats_.vectors);
}

Parameter* Transformer::make_parameter(std::string name, Shape shape) {
  const bool is_matrix = shape.rank() == 2;
  storage_.push_back({.name = std::move(name),
                      .value = is_matrix ? matrices_.zeros(shape) : Tensor::zeros(shape, formats_.vectors),
                      .grad = {}});
  if (is_matrix && formats_.master) storage_.back().master = Tensor::zeros(shape, formats_.vectors);
  order_.push_back(&storage_.back());
  return order_.back();
}

void Transformer::initialise(uint64_t seed) {
  const double residual = 1.0 / std::sqrt(2.0 * static_cast<double>(config_.layers));
  for (size_t i = 0; i < order_.size(); ++i) {
    Parameter& p = *order_[i];
    const bool is_bias = p.name.ends_with(".bias");
    const bool writes_residual = p.name.ends_with("o_proj.weight") || p.name.ends_with("down_proj.weight");
    if (p.value.rank() == 1) {
      kernels::fill(p.value, is_bias ? 0.0 : 1.0);
      continue;
    }
    double std_dev = 1.0 / std::sqrt(static_cast<double>(p.value.dim(1)));
    if (writes_residual) std_dev *= residual;
    if (&p == embedding_) std_dev *= 3.0;
    Rng rng(seed, Purpose::init, i);
    Tensor drawn = Tensor::empty(p.value.shape(), DType::f64);
    for (double& x : drawn.span<double>()) x = std_dev * rng.normal();
    kernels::convert(drawn, p.weights());
    p.changed();
  }
}

void Transformer::allocate_gradients() {
  for (Parameter* p : order_) {
    const bool is_matrix = p->value.rank() == 2;
    if (!p->grad.defined())
      p->grad = Tensor::zeros(p->value.shape(), is_matrix ? formats_.gradients : formats_.vectors);
  }
}

void Transformer::drop_master_weights() {
  for (Parameter* p : order_) p->master = {};
}

kernels::AttentionShape Transformer::attention_shape() const {
  return {.heads = config_.heads,
          .kv_heads = config_.kv_heads,
          .head_size = config_.head_size,
          .scale = 1.0 / std::sqrt(static_cast<double>(config_.head_size))};
}

KeyValueCache Transformer::make_cache(int64_t n_pages) const {
  KeyValueCache cache{.layers = {}, .n_pages = n_pages};
  for (int64_t i = 0; i < config_.layers; ++i)
    cache.layers.push_back(kernels::make_key_value_pages(n_pages, attention_shape(), formats_.matrices));
  return cache;
}

Var Transformer::block(Var x, const Layer& w, const TokenBatch& batch, kernels::KeyValuePages* pages) {
  const Var h = rms_norm(x, *w.input_norm, config_.norm_eps);
  const auto [heads, kv_heads, v] = linear(
      h, std::array{LinearWeights{*w.q, w.q_bias}, LinearWeights{*w.k, w.k_bias}, LinearWeights{*w.v, w.v_bias}});
  const Var q = rope(heads, batch.rotary_positions(), config_.heads, rope_);
  const Var k = rope(kv_heads, batch.rotary_positions(), config_.kv_heads, rope_);
  x = add(x, linear(attention(q, k, v, batch.layout(), attention_shape(), batch.n_pages, pages, batch.key_rows), *w.o));
  const Var g = rms_norm(x, *w.post_norm, config_.norm_eps);
  const auto [gate, up] = linear(g, std::array{LinearWeights{*w.gate}, LinearWeights{*w.up}});
  return add(x, linear(swiglu(gate, up), *w.down));
}

Var Transformer::hidden(Tape& tape, const TokenBatch& batch, KeyValueCache* cache) {
  Var x = embedding(tape, batch.ids, *embedding_);
  for (size_t i = 0; i < layers_.size(); ++i)
    x = block(x, layers_[i], batch, cache != nullptr ? &cache->layers[i] : nullptr);
  return rms_norm(x, *final_norm_, config_.norm_eps);
}

Tensor Transformer::logits(const Tensor& hidden) {
  Tensor out = Tensor::empty({hidden.dim(0), config_.n_vocab}, formats_.vectors);
  kernels::gemm(hidden, head().value, out, {.transpose_b = true});
  return out;
}

}  // namespace gradus::nn
