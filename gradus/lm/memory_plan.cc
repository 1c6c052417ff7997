#include "gradus/lm/memory_plan.h"

#include <algorithm>
#include <initializer_list>
#include <limits>

#include "gradus/core/error.h"
#include "gradus/kernels/attention.h"

namespace gradus::lm {

namespace {

constexpr int64_t kMost = std::numeric_limits<int64_t>::max();

int64_t sum(std::initializer_list<int64_t> terms) {
  int64_t total = 0;
  for (const int64_t t : terms) {
    if (__builtin_add_overflow(total, t, &total)) return kMost;
  }
  return total;
}

int64_t product(std::initializer_list<int64_t> factors) {
  int64_t total = 1;
  bool beyond = false;
  for (const int64_t f : factors) {
    if (f == 0) return 0;
    beyond = beyond || __builtin_mul_overflow(total, f, &total);
  }
  return beyond ? kMost : total;
}

std::string gigabytes(int64_t bytes) {
  return fmt::format("{:.2f}", static_cast<double>(bytes) * 1e-9);
}

}  // namespace

int64_t InferencePlan::total() const {
  return sum({weights, cache, workspace});
}

InferencePlan plan_inference(const nn::TransformerConfig& config, nn::Precision precision, const InferenceLoad& load) {
  const nn::TransformerConfig c = config.resolved();
  const nn::PrecisionFormats& f = nn::formats(precision);
  const auto half = static_cast<int64_t>(size_of(f.matrices)), full = static_cast<int64_t>(size_of(f.vectors));
  const int64_t n_vectors = c.n_vector_parameters(), n_matrices = c.n_parameters() - n_vectors;
  InferencePlan plan;
  plan.weights = sum({product({n_matrices, half}), product({n_vectors, full})});
  if (load.sequences == 0) return plan;
  const int64_t blocks = load.positions / kernels::kKeyBlock + 1;
  plan.cache = product({load.sequences, blocks, kernels::kKeyBlock, 2, c.kv_heads * c.head_size, c.layers, half});
  const int64_t q = c.heads * c.head_size, kv = c.kv_heads * c.head_size;
  const int64_t widest = std::max(3 * c.ffn_width, 2 * (q + kv) + q) + 4 * c.width;  // a block's tensors at once
  // A product of many rows packs its weights, of f16 as f32.
  const int64_t packed = c.width * std::max(c.ffn_width, q);
  plan.workspace = sum({product({load.sequences, c.n_vocab, full}), product({load.rows, widest, half}),
                        product({packed, half == 2 && f.matrices == DType::f16 ? 8 : half})});
  return plan;
}

std::string to_text(const InferencePlan& plan, int64_t available) {
  return fmt::format("needs {} GB of memory: weights {}, keys and values {}, workspace {}; {} GB are available",
                     gigabytes(plan.total()), gigabytes(plan.weights), gigabytes(plan.cache), gigabytes(plan.workspace),
                     gigabytes(available));
}

void require_memory(std::string_view what, const InferencePlan& plan, int64_t available) {
  if (plan.total() <= available) return;
  fail(ErrorCode::exhausted, "{} {}; take a smaller model, a shorter text, or a 16-bit precision", what,
       to_text(plan, available));
}

}  // namespace gradus::lm
