#include "gradus/nn/transformer.h"

#include <algorithm>
#include <cmath>

#include "gradus/core/rng.h"
#include "gradus/kernels/convert.h"
#include "gradus/kernels/elementwise.h"
#include "gradus/kernels/embedding.h"

namespace gradus::nn {

Transformer::Transformer(const TransformerConfig& config, Precision precision)
    : config_(config.resolved()), formats_(formats(precision)) {
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
                      .value = Tensor::zeros(shape, is_matrix ? formats_.matrices : formats_.vectors),
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

void Transformer::pack() {
  for (Parameter* p : order_) {
    const bool is_input_table = p == embedding_ && !config_.tie_embeddings;
    if (p->value.rank() == 2 && !is_input_table && !p->packed.panels.defined())
      p->packed = kernels::pack_matrix(p->value, true);
  }
}

kernels::AttentionShape Transformer::attention_shape() const {
  return {.heads = config_.heads,
          .kv_heads = config_.kv_heads,
          .head_size = config_.head_size,
          .scale = 1.0 / std::sqrt(static_cast<double>(config_.head_size))};
}

KeyValueCache Transformer::make_cache(int64_t n_pages) const {
  KeyValueCache cache{.layers = {}, .n_pages = n_pages, .drafted_keys = {}, .drafted_values = {}};
  cache.drafted_keys.resize(static_cast<size_t>(config_.layers));
  cache.drafted_values.resize(static_cast<size_t>(config_.layers));
  for (int64_t i = 0; i < config_.layers; ++i)
    cache.layers.push_back(kernels::make_key_value_pages(n_pages, attention_shape(), formats_.matrices));
  return cache;
}

namespace {

// Attention over sequences and, in the rows after theirs, trees. What the trees' nodes have in k and v is set aside.
Var attention_with_trees(Var q, Var k, Var v, const TokenBatch& batch, const kernels::AttentionShape& shape,
                         size_t layer, KeyValueCache& cache) {
  GRADUS_CHECK(!q.tape->recording());
  const int64_t rows = batch.rows(), first = rows - batch.tree_rows();
  Tensor o = Tensor::empty(q.value().shape(), q.value().dtype());
  Tensor lse = Tensor::empty({rows, shape.heads}, kernels::computed_in(o.dtype()));
  Tensor o_trees = o.rows(first, rows), lse_trees = lse.rows(first, rows);
  const Tensor keys = k.value().rows(first, rows), values = v.value().rows(first, rows);
  if (first > 0) {
    Tensor o_sequences = o.rows(0, first), lse_sequences = lse.rows(0, first);
    kernels::AttentionLayout layout = batch.layout();
    layout.key_positions = layout.key_positions.first(static_cast<size_t>(first));
    layout.block_table = layout.block_table.first(static_cast<size_t>(batch.n_sequences() * batch.max_blocks));
    kernels::store_keys_values(k.value().rows(0, first), v.value().rows(0, first), layout, shape, cache.layers[layer]);
    kernels::attention_forward(q.value().rows(0, first), cache.layers[layer], layout, shape, o_sequences,
                               lse_sequences);
  }
  kernels::attention_tree(q.value().rows(first, rows), keys, values, cache.layers[layer], batch.tree_layout(),
                          {batch.prefix_lengths, batch.parents}, shape, o_trees, lse_trees);
  cache.drafted_keys[layer] = keys;
  cache.drafted_values[layer] = values;
  return q.tape->emit(std::move(o), false);
}

}  // namespace

void KeyValueCache::keep_drafted(std::span<const int32_t> rows, const kernels::AttentionLayout& layout,
                                 const kernels::AttentionShape& shape) {
  for (size_t i = 0; i < layers.size(); ++i) {
    const Shape kept{static_cast<int64_t>(rows.size()), drafted_keys[i].dim(1)};
    Tensor k = Tensor::empty(kept, drafted_keys[i].dtype()), v = Tensor::empty(kept, drafted_values[i].dtype());
    kernels::embedding(rows, drafted_keys[i], k);
    kernels::embedding(rows, drafted_values[i], v);
    kernels::store_keys_values(k, v, layout, shape, layers[i]);
  }
}

void KeyValueCache::copy_page(int32_t from, int32_t to) {
  for (kernels::KeyValuePages& pages : layers) {
    for (Tensor* x : {&pages.keys, &pages.values}) x->rows(to, to + 1).copy_from(x->rows(from, from + 1));
  }
}

Var Transformer::block(Var x, size_t layer, const TokenBatch& batch, KeyValueCache* cache) {
  const Layer& w = layers_[layer];
  const Var h = rms_norm(x, *w.input_norm, config_.norm_eps);
  const Var q = rope(linear(h, *w.q, w.q_bias), batch.rotary_positions(), config_.heads, rope_);
  const Var k = rope(linear(h, *w.k, w.k_bias), batch.rotary_positions(), config_.kv_heads, rope_);
  const Var v = linear(h, *w.v, w.v_bias);
  const Var a = batch.n_trees() > 0 ? attention_with_trees(q, k, v, batch, attention_shape(), layer, *cache)
                                    : attention(q, k, v, batch.layout(), attention_shape(), batch.n_pages,
                                                cache != nullptr ? &cache->layers[layer] : nullptr, batch.key_rows);
  x = add(x, linear(a, *w.o));
  const Var g = rms_norm(x, *w.post_norm, config_.norm_eps);
  return add(x, linear(swiglu(linear(g, *w.gate), linear(g, *w.up)), *w.down));
}

Var Transformer::hidden(Tape& tape, const TokenBatch& batch, KeyValueCache* cache) {
  Var x = embedding(tape, batch.ids, *embedding_);
  GRADUS_CHECK(batch.n_trees() == 0 || cache != nullptr);
  for (size_t i = 0; i < layers_.size(); ++i) x = block(x, i, batch, cache);
  return rms_norm(x, *final_norm_, config_.norm_eps);
}

Tensor Transformer::logits(const Tensor& hidden) {
  Tensor out = Tensor::empty({hidden.dim(0), config_.n_vocab}, formats_.vectors);
  Parameter& w = head();
  if (w.packed.panels.defined()) {
    kernels::gemm(hidden, w.packed, out);
  } else {
    kernels::gemm(hidden, w.value, out, {.transpose_b = true});
  }
  return out;
}

}  // namespace gradus::nn
