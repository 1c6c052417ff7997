#include "gradus/lm/medusa/heads.h"

#include <algorithm>
#include <cmath>

#include "gradus/core/thread_pool.h"
#include "gradus/kernels/convert.h"
#include "gradus/kernels/elementwise.h"
#include "gradus/kernels/embedding.h"
#include "gradus/kernels/gemm.h"
#include "gradus/kernels/norm.h"
#include "gradus/kernels/softmax.h"

namespace gradus::lm {

void MedusaConfig::check() const {
  constexpr int64_t kMostHeads = 32, kMostLayers = 8;
  require(heads >= 1 && heads <= kMostHeads, "medusa: {} heads are not 1 to {}", heads, kMostHeads);
  require(layers >= 1 && layers <= kMostLayers, "medusa: {} layers of a head are not 1 to {}", layers, kMostLayers);
}

MedusaHeads::MedusaHeads(nn::Transformer& trunk, const MedusaConfig& config) : trunk_(trunk), config_(config) {
  config.check();
  const int64_t C = trunk.config().width, n_vocab = trunk.config().n_vocab;
  for (int64_t k = 0; k < config.heads; ++k) {
    std::vector<Block>& blocks = blocks_.emplace_back();
    for (int64_t l = 0; l < config.layers; ++l) {
      blocks.push_back({make_parameter(fmt::format("{}.{}.linear.weight", k, l), {C, C}),
                        make_parameter(fmt::format("{}.{}.linear.bias", k, l), {C})});
    }
    if (config.reads_token) tokens_.push_back(make_parameter(fmt::format("{}.token.weight", k), {C, C}));
    if (!config.own_outputs) continue;
    nn::Parameter* const output = make_parameter(fmt::format("{}.{}.weight", k, config.layers), {n_vocab, C});
    kernels::convert(trunk.head().weights(), output->weights());
    output->changed();
    outputs_.push_back(output);
  }
}

nn::Parameter* MedusaHeads::make_parameter(std::string name, Shape shape) {
  const nn::PrecisionFormats& formats = trunk_.precision();
  const bool is_matrix = shape.rank() == 2;
  storage_.push_back({.name = std::move(name),
                      .value = Tensor::zeros(shape, is_matrix ? formats.matrices : formats.vectors),
                      .grad = {}});
  if (is_matrix && formats.master) storage_.back().master = Tensor::zeros(shape, formats.vectors);
  order_.push_back(&storage_.back());
  return order_.back();
}

void MedusaHeads::allocate_gradients() {
  const nn::PrecisionFormats& formats = trunk_.precision();
  for (nn::Parameter* p : order_) {
    if (!p->grad.defined())
      p->grad = Tensor::zeros(p->value.shape(), p->value.rank() == 2 ? formats.gradients : formats.vectors);
  }
}

nn::Var MedusaHeads::read(nn::Tape& tape, std::span<const int32_t> tokens) {
  if (!config_.reads_token) return {};
  const Tensor& table = trunk_.embedding_table().value;
  const auto rows = static_cast<int64_t>(tokens.size()), C = table.dim(1);
  const DType wide = trunk_.precision().vectors;
  Tensor rows_of_table = Tensor::empty({rows, C}, table.dtype()), e = Tensor::empty({rows, C}, table.dtype());
  Tensor ones = Tensor::empty({C}, wide), inv_rms = Tensor::empty({rows}, wide);
  kernels::fill(ones, 1.0);
  kernels::embedding(tokens, table, rows_of_table);
  kernels::rms_norm(rows_of_table, ones, trunk_.config().norm_eps, e, inv_rms);
  return tape.constant(e);
}

nn::Var MedusaHeads::hidden(nn::Var x, nn::Var e, int64_t head) {
  const auto k = static_cast<size_t>(head);
  for (size_t l = 0; l < blocks_[k].size(); ++l) {
    const Block& b = blocks_[k][l];
    nn::Var y = linear(x, *b.weight, b.bias);
    if (l == 0 && config_.reads_token) y = add(y, linear(e, *tokens_[k]));
    x = add(x, silu(y));
  }
  return x;
}

nn::Parameter& MedusaHeads::output(int64_t head) {
  return config_.own_outputs ? *outputs_[static_cast<size_t>(head)] : trunk_.head();
}

void MedusaHeads::set_weights(const NamedTensors& weights, std::string_view origin) {
  std::vector<Tensor> values;  // of order_; nothing is taken over before all are known to fit
  for (const nn::Parameter* p : order_) {
    const auto found = std::ranges::find(weights, p->name, &NamedTensors::value_type::first);
    if (found == weights.end()) fail(ErrorCode::corrupt, "{}: tensor {} of the heads is missing", origin, p->name);
    const Tensor& t = values.emplace_back(found->second);
    if (t.shape() != p->value.shape() || !is_floating(t.dtype())) {
      fail(ErrorCode::corrupt, "{}: tensor {} is {} {}, but heads of this model have {}", origin, p->name,
           name(t.dtype()), to_string(t.shape()), to_string(p->value.shape()));
    }
  }
  if (weights.size() != order_.size()) {
    fail(ErrorCode::corrupt, "{}: {} tensors, but {} heads of {} layers have {}", origin, weights.size(), config_.heads,
         config_.layers, order_.size());
  }
  for (size_t i = 0; i < order_.size(); ++i) {
    kernels::convert(values[i], order_[i]->weights());
    order_[i]->changed();
  }
}

MedusaGuesser::MedusaGuesser(MedusaHeads& heads, std::vector<int32_t> vocabulary)
    : heads_(heads), vocabulary_(std::move(vocabulary)) {
  require(vocabulary_.empty() || !heads.config().own_outputs,
          "medusa: heads with outputs of their own cannot leave tokens out; train heads without own_outputs");
  refresh();
}

void MedusaGuesser::refresh() {
  if (vocabulary_.empty()) return;
  const Tensor& w = heads_.trunk().head().value;
  output_ = Tensor::empty({static_cast<int64_t>(vocabulary_.size()), w.dim(1)}, w.dtype());
  kernels::embedding(vocabulary_, w, output_);
}

namespace {

// The `most` largest of z, the largest first.
std::vector<int32_t> largest(std::span<const float> z, size_t most) {
  std::vector<int32_t> top;  // descending
  for (size_t i = 0; i < z.size(); ++i) {
    if (top.size() == most && !(z[i] > z[static_cast<size_t>(top.back())])) continue;
    const auto place =
        std::ranges::upper_bound(top, z[i], std::greater<>(), [&](int32_t j) { return z[static_cast<size_t>(j)]; });
    top.insert(place, static_cast<int32_t>(i));
    if (top.size() > most) top.pop_back();
  }
  return top;
}

}  // namespace

std::vector<std::vector<Candidate>> MedusaGuesser::guess(const Tensor& hidden, std::span<const int32_t> drawn,
                                                         int64_t most) {
  const int64_t rows = hidden.dim(0), n_heads = heads_.config().heads;
  GRADUS_CHECK(std::ssize(drawn) == rows);
  std::vector<std::vector<Candidate>> guesses(static_cast<size_t>(rows * n_heads));
  // All heads that share an output, one below the other: its weights are read once.
  const bool own = heads_.config().own_outputs;
  const int64_t together = own ? 1 : n_heads;
  const nn::Var x = tape_.constant(hidden), e = heads_.read(tape_, drawn);
  for (int64_t first = 0; first < n_heads; first += together) {
    Tensor h = Tensor::empty({together * rows, hidden.dim(1)}, hidden.dtype());
    for (int64_t k = 0; k < together; ++k) {
      Tensor part = h.rows(k * rows, (k + 1) * rows);
      part.copy_from(heads_.hidden(x, e, first + k).value());
    }
    const Tensor& w = output_.defined() ? output_ : heads_.output(first).value;
    Tensor logits = Tensor::empty({h.dim(0), w.dim(0)}, heads_.trunk().precision().vectors);
    kernels::gemm(h, w, logits, {.transpose_b = true});
    Tensor z = logits;
    if (logits.dtype() != DType::f32) {
      z = Tensor::empty(logits.shape(), DType::f32);
      kernels::convert(logits, z);
    }
    std::vector<int32_t> best(static_cast<size_t>(h.dim(0)));
    std::vector<std::vector<int32_t>> top(best.size());
    parallel_for(h.dim(0), [&](int64_t r) {
      const auto i = static_cast<size_t>(r);
      const std::span<const float> row(z.data<float>() + r * z.dim(1), static_cast<size_t>(z.dim(1)));
      top[i] = largest(row, static_cast<size_t>(std::min(most, z.dim(1))));
      best[i] = top[i].front();
    });
    Tensor log_p = Tensor::empty({h.dim(0)}), lse = Tensor::empty({h.dim(0)});
    kernels::log_prob(z, best, 1.0, log_p, lse);
    for (int64_t k = 0; k < together; ++k) {
      for (int64_t r = 0; r < rows; ++r) {
        const auto i = static_cast<size_t>(k * rows + r);
        std::vector<Candidate>& list = guesses[static_cast<size_t>(r * n_heads + first + k)];
        for (const int32_t id : top[i]) {
          const float z_id = z.data<float>()[static_cast<int64_t>(i) * z.dim(1) + id];
          list.push_back({.token = vocabulary_.empty() ? id : vocabulary_[static_cast<size_t>(id)],
                          .p = std::exp(z_id - lse.data<float>()[i])});
        }
      }
    }
  }
  tape_.reset();
  return guesses;
}

}  // namespace gradus::lm
