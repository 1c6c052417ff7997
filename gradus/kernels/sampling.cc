#include "gradus/kernels/sampling.h"

#include <algorithm>
#include <cmath>

#include "gradus/kernels/log_prob_row.h"

namespace gradus::kernels {

namespace {

// What sample_tokens hands back for a row that holds no distribution; found after the parallel region.
constexpr int32_t kBadRow = -1;

template <class T>
int32_t draw(const T* z, int64_t n_vocab, T inv, T lse, float u) {
  const auto kernel = choose(ref::sample<T>, cpu::sample);
  return kernel({.z = z, .n = n_vocab, .inv = inv, .lse = lse, .u = u});
}

template <class T>
int32_t argmax(const T* z, int64_t n_vocab) {
  const T m = choose(ref::row_max<T>, cpu::row_max)(z, n_vocab);
  return static_cast<int32_t>(std::find(z, z + n_vocab, m) - z);
}

}  // namespace

void sample_tokens(const Tensor& logits, double temperature, std::span<const float> uniforms, std::span<int32_t> ids,
                   std::span<float> log_prob) {
  require_matrix("sample_tokens", "logits", logits);
  sample_tokens(logits, temperature, uniforms, ids, log_prob, logits.dim(1));
}

void sample_tokens(const Tensor& logits, double temperature, std::span<const float> uniforms, std::span<int32_t> ids,
                   std::span<float> log_prob, int64_t n_drawn) {
  constexpr std::string_view kOp = "sample_tokens";
  require_matrix(kOp, "logits", logits);
  const int64_t rows = logits.dim(0), n_vocab = logits.dim(1);
  require(n_vocab >= 1 || rows == 0, "{}: the vocabulary is empty", kOp);
  require((n_drawn >= 1 && n_drawn <= n_vocab) || rows == 0, "{}: {} ids of {} may be drawn, but must be 1 or more",
          kOp, n_drawn, n_vocab);
  const bool greedy = temperature == 0;
  if (!greedy) require_temperature(kOp, temperature);
  if (!greedy) require_rows(kOp, "uniforms", uniforms.size(), rows);
  require_rows(kOp, "ids", ids.size(), rows);
  require_rows(kOp, "log_prob", log_prob.size(), rows);

  for_float_type(kOp, logits, [&]<class T>() {
    const T inv = inverse_temperature<T>(greedy ? 1 : temperature);
    const T* z = logits.data<T>();
    for_rows(rows, n_vocab, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T* row = z + r * n_vocab;
        const auto i = static_cast<size_t>(r);
        const T lse = row_log_sum_exp(row, n_vocab, inv);
        const T drawn_lse = n_drawn == n_vocab ? lse : row_log_sum_exp(row, n_drawn, inv);
        if (!std::isfinite(lse) || !std::isfinite(drawn_lse)) {
          ids[i] = kBadRow;
          continue;
        }
        ids[i] = greedy ? argmax(row, n_drawn) : draw(row, n_drawn, inv, drawn_lse, uniforms[i]);
        log_prob[i] = static_cast<float>(row_log_prob(row[ids[i]], inv, lse));
      }
    });
  });
  if (const auto bad = std::find(ids.begin(), ids.end(), kBadRow); bad != ids.end()) {
    fail(ErrorCode::diverged, "{}: the logits of row {} hold NaN, +inf or only -inf; the weights have diverged", kOp,
         bad - ids.begin());
  }
}

}  // namespace gradus::kernels
