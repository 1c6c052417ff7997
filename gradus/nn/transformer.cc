#include "gradus/nn/transformer.h"

#include <algorithm>
#include <cmath>

#include "gradus/core/rng.h"
#include "gradus/core/thread_pool.h"
#include "gradus/kernels/convert.h"
#include "gradus/kernels/elementwise.h"
#include "gradus/kernels/embedding.h"

namespace gradus::nn {

namespace {

constexpr int64_t kFirstPositions = 2048;  // of the rotary table

}  // namespace

Transformer::Transformer(const TransformerConfig& config, const TransformerOptions& options)
    : config_(config.resolved()), formats_(formats(options.precision)), matrices_(formats_.matrices) {
  const TransformerConfig& c = config_;
  const int64_t q_width = c.heads * c.head_size, kv_width = c.kv_heads * c.head_size;
  const auto make = [&](std::string name, Shape shape) { return make_parameter(std::move(name), shape, options); };
  embedding_ = make("model.embed_tokens.weight", {c.n_vocab, c.width});
  for (int64_t i = 0; i < c.layers; ++i) {
    const std::string at = fmt::format("model.layers.{}.", i);
    Layer layer{};
    layer.input_norm = make(at + "input_layernorm.weight", {c.width});
    layer.q = make(at + "self_attn.q_proj.weight", {q_width, c.width});
    layer.k = make(at + "self_attn.k_proj.weight", {kv_width, c.width});
    layer.v = make(at + "self_attn.v_proj.weight", {kv_width, c.width});
    if (c.qkv_bias) {
      layer.q_bias = make(at + "self_attn.q_proj.bias", {q_width});
      layer.k_bias = make(at + "self_attn.k_proj.bias", {kv_width});
      layer.v_bias = make(at + "self_attn.v_proj.bias", {kv_width});
    }
    if (c.qk_norm) {
      layer.q_norm = make(at + "self_attn.q_norm.weight", {c.head_size});
      layer.k_norm = make(at + "self_attn.k_norm.weight", {c.head_size});
    }
    layer.o = make(at + "self_attn.o_proj.weight", {c.width, q_width});
    if (c.o_bias) layer.o_bias = make(at + "self_attn.o_proj.bias", {c.width});
    layer.post_norm = make(at + "post_attention_layernorm.weight", {c.width});
    layer.gate = make(at + "mlp.gate_proj.weight", {c.ffn_width, c.width});
    layer.up = make(at + "mlp.up_proj.weight", {c.ffn_width, c.width});
    layer.down = make(at + "mlp.down_proj.weight", {c.width, c.ffn_width});
    if (c.mlp_bias) {
      layer.gate_bias = make(at + "mlp.gate_proj.bias", {c.ffn_width});
      layer.up_bias = make(at + "mlp.up_proj.bias", {c.ffn_width});
      layer.down_bias = make(at + "mlp.down_proj.bias", {c.width});
    }
    layers_.push_back(layer);
  }
  final_norm_ = make("model.norm.weight", {c.width});
  if (!c.tie_embeddings) head_ = make("lm_head.weight", {c.n_vocab, c.width});
}

Parameter* Transformer::make_parameter(std::string name, Shape shape, const TransformerOptions& options) {
  const bool is_matrix = shape.rank() == 2;
  const auto weights = [&](DType dtype) {
    if (options.weights) return options.weights(name, shape, dtype);
    return is_matrix && dtype == formats_.matrices ? matrices_.zeros(shape) : Tensor::zeros(shape, dtype);
  };
  Tensor value = weights(is_matrix ? formats_.matrices : formats_.vectors), master;
  if (is_matrix && formats_.master && options.masters) master = weights(formats_.vectors);
  storage_.push_back({.name = std::move(name), .value = std::move(value), .grad = {}});
  storage_.back().master = std::move(master);
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

kernels::AttentionShape Transformer::attention_shape(int64_t layer) const {
  return {.heads = config_.heads,
          .kv_heads = config_.kv_heads,
          .head_size = config_.head_size,
          .scale = 1.0 / std::sqrt(static_cast<double>(config_.head_size)),
          .left = config_.has_window(layer) ? config_.window - 1 : -1};
}

KeyValueCache Transformer::make_cache(int64_t n_pages) const {
  KeyValueCache cache{.layers = {}, .n_pages = n_pages, .drafted_keys = {}, .drafted_values = {}};
  cache.drafted_keys.resize(static_cast<size_t>(config_.layers));
  cache.drafted_values.resize(static_cast<size_t>(config_.layers));
  for (int64_t i = 0; i < config_.layers; ++i)
    cache.layers.push_back(kernels::make_key_value_pages(n_pages, attention_shape(i), formats_.matrices));
  return cache;
}

namespace {

// Attention over sequences and, in the rows after theirs, trees. What the trees' nodes have in k and v is set aside.
Var attention_with_trees(Var q, Var k, Var v, const TokenBatch& batch, const kernels::AttentionShape& shape,
                         int64_t layer_number, KeyValueCache& cache) {
  GRADUS_CHECK(!q.tape->recording());
  const auto layer = static_cast<size_t>(layer_number);
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
  parallel_for(std::ssize(layers), [&](int64_t layer) {
    const auto i = static_cast<size_t>(layer);
    const Shape kept{static_cast<int64_t>(rows.size()), drafted_keys[i].dim(1)};
    Tensor k = Tensor::empty(kept, drafted_keys[i].dtype()), v = Tensor::empty(kept, drafted_values[i].dtype());
    kernels::embedding(rows, drafted_keys[i], k);
    kernels::embedding(rows, drafted_values[i], v);
    kernels::store_keys_values(k, v, layout, shape, layers[i]);
  });
}

void KeyValueCache::copy_page(int32_t from, int32_t to) {
  if (from == to) return;
  for (kernels::KeyValuePages& pages : layers) {
    for (Tensor* x : {&pages.keys, &pages.values}) x->rows(to, to + 1).copy_from(x->rows(from, from + 1));
  }
}

// A longer table begins with the rows of the shorter one, so it may take that one's place under a tape that records.
void Transformer::extend_rope(const TokenBatch& batch) {
  const std::span<const int32_t> positions = batch.rotary_positions();
  const int64_t needed = positions.empty() ? 0 : int64_t{*std::ranges::max_element(positions)} + 1;
  const int64_t there = rope_.cos.defined() ? rope_.cos.dim(0) : 0;
  if (there > 0 && (needed <= there || there == config_.max_positions)) return;
  const int64_t n = std::min(config_.max_positions, std::max({kFirstPositions, needed, 2 * there}));
  rope_ = kernels::make_rope_table(n, config_.head_size, config_.rope_theta, formats_.vectors, config_.rope_scaling);
}

Var Transformer::block(Var x, int64_t layer, const TokenBatch& batch, KeyValueCache* cache) {
  const Layer& w = layers_[static_cast<size_t>(layer)];
  const Var h = rms_norm(x, *w.input_norm, config_.norm_eps);
  const auto [heads, kv_heads, v] = linear(
      h, std::array{LinearWeights{*w.q, w.q_bias}, LinearWeights{*w.k, w.k_bias}, LinearWeights{*w.v, w.v_bias}});
  const auto rotated = [&](Var y, Parameter* norm, int64_t n) {
    if (norm != nullptr) y = rms_norm(y, *norm, config_.norm_eps);
    return rope(y, batch.rotary_positions(), n, rope_);
  };
  const Var q = rotated(heads, w.q_norm, config_.heads), k = rotated(kv_heads, w.k_norm, config_.kv_heads);
  const Var seen =
      batch.n_trees() > 0
          ? attention_with_trees(q, k, v, batch, attention_shape(layer), layer, *cache)
          : attention(q, k, v, batch.layout(), attention_shape(layer), batch.n_pages,
                      cache != nullptr ? &cache->layers[static_cast<size_t>(layer)] : nullptr, batch.key_rows);
  x = add(x, linear(seen, *w.o, w.o_bias));
  const Var g = rms_norm(x, *w.post_norm, config_.norm_eps);
  const auto [gate, up] = linear(g, std::array{LinearWeights{*w.gate, w.gate_bias}, LinearWeights{*w.up, w.up_bias}});
  return add(x, linear(swiglu(gate, up), *w.down, w.down_bias));
}

Var Transformer::hidden(Tape& tape, const TokenBatch& batch, KeyValueCache* cache) {
  extend_rope(batch);
  Var x = embedding(tape, batch.ids, *embedding_);
  GRADUS_CHECK(batch.n_trees() == 0 || cache != nullptr);
  for (int64_t i = 0; i < config_.layers; ++i) x = block(x, i, batch, cache);
  return rms_norm(x, *final_norm_, config_.norm_eps);
}

Tensor Transformer::logits(const Tensor& hidden) {
  Tensor out = Tensor::empty({hidden.dim(0), config_.n_vocab}, formats_.vectors);
  kernels::gemm(hidden, head().value, out, {.transpose_b = true});
  return out;
}

}  // namespace gradus::nn
