#include "gradus/posttrain/memory_plan.h"

#include <algorithm>

#include "gradus/autograd/ops.h"
#include "gradus/kernels/attention.h"

namespace gradus::posttrain {

namespace {

int64_t bytes_of(DType dtype) {
  return static_cast<int64_t>(size_of(dtype));
}

// Widths of the rows that go through a decoder.
struct Widths {
  int64_t model, q, kv, ffn;
};

struct Parameters {
  int64_t matrices = 0, vectors = 0;
};

Parameters parameters_of(const lm::MedusaConfig& heads, const nn::TransformerConfig& trunk) {
  const int64_t blocks = heads.heads * heads.layers, tokens = heads.reads_token ? heads.heads : 0,
                outputs = heads.own_outputs ? heads.heads : 0;
  return {.matrices = (blocks + tokens) * trunk.width * trunk.width + outputs * trunk.n_vocab * trunk.width,
          .vectors = blocks * trunk.width};
}

}  // namespace

MemoryPlan plan_memory(const nn::TransformerConfig& unresolved, nn::Precision precision,
                       const MemoryPlanConfig& config) {
  const nn::TransformerConfig c = unresolved.resolved();
  const nn::PrecisionFormats& f = nn::formats(precision);
  const int64_t half = bytes_of(f.matrices), full = bytes_of(f.vectors);
  const Widths w{.model = c.width, .q = c.heads * c.head_size, .kv = c.kv_heads * c.head_size, .ffn = c.ffn_width};

  const int64_t n_vectors = c.n_vector_parameters(), n_matrices = c.n_parameters() - n_vectors;
  MemoryPlan plan;
  Parameters learned;
  if (config.lora) {
    learned = {.matrices = config.lora->n_parameters(c)};
    plan.parameters = learned.matrices * half;
  } else if (config.trunk_learns) {
    learned = {n_matrices, n_vectors};
  }
  if (config.heads) {
    const Parameters heads = parameters_of(*config.heads, c);
    learned.matrices += heads.matrices, learned.vectors += heads.vectors;
    plan.parameters += heads.matrices * half + heads.vectors * full;
  }
  const int64_t copies = config.teacher ? 2 : 1;
  plan.parameters += copies * (n_matrices * half + n_vectors * full);
  plan.gradients = learned.matrices * bytes_of(f.gradients) + learned.vectors * full;
  const auto share = [&](int64_t n) { return (n + config.shares - 1) / config.shares; };
  plan.shares = config.shares;
  plan.moments = 2 * share(learned.matrices + learned.vectors) * full;
  plan.master = f.master ? share(learned.matrices) * full : 0;
  if (f.master && !config.trunk_learns) plan.master += n_matrices * full;  // to be saved as it was

  // A layer keeps: two norms, q and k before and after rotation, v, attention's result, its projection, two sums,
  // gate, up, their product and its projection; the norms' statistics and attention's log-sum-exps. With norms of q and
  // k their results and statistics, too.
  const int64_t qk_norms = c.qk_norm ? (w.q + w.kv) * half + (c.heads + c.kv_heads) * full : 0;
  const int64_t layer_row = (2 * w.model + 2 * w.q + 3 * w.kv + w.q + 3 * w.model + 3 * w.ffn + w.model) * half +
                            (2 + c.heads) * full + qk_norms;
  const int64_t outer_row = 2 * w.model * half + full;  // the embedded tokens, and the last norm with its statistic
  const int64_t log_probs = 2 * config.rows * full;
  const int64_t low_rank_row = config.lora ? config.lora->rank * std::ssize(config.lora->targets) * half : 0;
  plan.activations = config.trunk_learns ? config.rows * (c.layers * (layer_row + low_rank_row) + outer_row) + log_probs
                                         : config.rows * w.model * half;
  // A block of a head keeps its product, ones, their SiLU and the sum; each head also its log-probabilities; one that
  // reads a token its product with that, and the sum of both; the tokens' rows are everyone's.
  if (config.heads) {
    const lm::MedusaConfig& heads = *config.heads;
    const int64_t kept = heads.heads * heads.layers * 4 + (heads.reads_token ? 2 * heads.heads + 1 : 0);
    plan.activations += config.rows * kept * w.model * half;
    plan.activations += heads.heads * log_probs;
  }

  // Training: the head's logits, their gradient and its 16-bit copy; the widest gradients of activations; packed
  // operands of a product; pages of keys and values; attention's gradients and scratch.
  const int64_t head_rows = std::min(config.rows, autograd::kHeadRows);
  const int64_t head = head_rows * (c.n_vocab * (full + (half < full ? half : 0)) + 2 * w.model * full);
  const int64_t flowing = config.rows * (3 * w.ffn * half + 2 * w.model * half + (w.q + 2 * w.kv) * full);
  const int64_t packed = std::max({w.model * w.ffn, w.model * w.q, w.model * c.n_vocab}) * std::max<int64_t>(half, 2);
  const int64_t pages = 2 * (config.rows + kernels::kKeyBlock) * w.kv * half;
  const kernels::AttentionShape shape{.heads = c.heads, .kv_heads = c.kv_heads, .head_size = c.head_size, .scale = 1.0};
  const int64_t training =
      head + flowing + packed + pages + kernels::attention_workspace_bytes(config.rows, shape, config.threads);

  // Sampling: keys and values of all layers, the packed operand of a product, logits.
  const int64_t blocks = (config.sampled_tokens + kernels::kKeyBlock - 1) / kernels::kKeyBlock;
  const int64_t cache = config.sampled_at_once * blocks * kernels::kKeyBlock * 2 * w.kv * c.layers * half;
  const int64_t sampling = config.sampled_at_once == 0 ? 0 : cache + packed + config.sampled_at_once * c.n_vocab * full;
  plan.workspace = std::max(training, sampling);
  return plan;
}

}  // namespace gradus::posttrain
