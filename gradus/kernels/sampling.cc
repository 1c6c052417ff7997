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

struct Width {
  int64_t n_vocab, n_drawn;
};

// The draw of a row, or kBadRow.
template <class T>
void draw_row(const T* row, Width width, double temperature, float u, int32_t& id, float& log_prob) {
  const auto [n_vocab, n_drawn] = width;
  const bool greedy = temperature == 0;
  const T inv = inverse_temperature<T>(greedy ? 1 : temperature);
  const T lse = row_log_sum_exp(row, n_vocab, inv);
  const T drawn_lse = n_drawn == n_vocab ? lse : row_log_sum_exp(row, n_drawn, inv);
  id = kBadRow;
  if (!std::isfinite(lse) || !std::isfinite(drawn_lse)) return;
  id = greedy ? argmax(row, n_drawn) : draw(row, n_drawn, inv, drawn_lse, u);
  log_prob = static_cast<float>(row_log_prob(row[id], inv, lse));
}

constexpr std::string_view kOp = "sample_tokens";

Width check_logits(const Tensor& logits, int64_t n_drawn) {
  const int64_t rows = logits.dim(0), n_vocab = logits.dim(1);
  require(n_vocab >= 1 || rows == 0, "{}: the vocabulary is empty", kOp);
  require((n_drawn >= 1 && n_drawn <= n_vocab) || rows == 0, "{}: {} ids of {} may be drawn, but must be 1 or more",
          kOp, n_drawn, n_vocab);
  return {n_vocab, n_drawn};
}

[[noreturn]] void fail_row(int64_t row) {
  fail(ErrorCode::diverged, "{}: the logits of row {} hold NaN, +inf or only -inf; the weights have diverged", kOp,
       row);
}

}  // namespace

void sample_tokens(const Tensor& logits, double temperature, std::span<const float> uniforms, std::span<int32_t> ids,
                   std::span<float> log_prob) {
  require_matrix(kOp, "logits", logits);
  sample_tokens(logits, temperature, uniforms, ids, log_prob, logits.dim(1));
}

void sample_tokens(const Tensor& logits, double temperature, std::span<const float> uniforms, std::span<int32_t> ids,
                   std::span<float> log_prob, int64_t n_drawn) {
  require_matrix(kOp, "logits", logits);
  const Width width = check_logits(logits, n_drawn);
  const int64_t rows = logits.dim(0), n_vocab = logits.dim(1);
  const bool greedy = temperature == 0;
  if (!greedy) require_temperature(kOp, temperature);
  if (!greedy) require_rows(kOp, "uniforms", uniforms.size(), rows);
  require_rows(kOp, "ids", ids.size(), rows);
  require_rows(kOp, "log_prob", log_prob.size(), rows);

  for_float_type(kOp, logits, [&]<class T>() {
    const T* z = logits.data<T>();
    for_rows(rows, n_vocab, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const auto i = static_cast<size_t>(r);
        draw_row(z + r * n_vocab, width, temperature, greedy ? 0 : uniforms[i], ids[i], log_prob[i]);
      }
    });
  });
  if (const auto bad = std::find(ids.begin(), ids.end(), kBadRow); bad != ids.end()) fail_row(bad - ids.begin());
}

void sample_tokens(const Tensor& logits, std::span<TokenDraw> draws, int64_t n_drawn) {
  require_matrix(kOp, "logits", logits);
  const Width width = check_logits(logits, n_drawn);
  const int64_t n_vocab = logits.dim(1);
  for (const TokenDraw& d : draws) {
    require(d.row >= 0 && d.row < logits.dim(0), "{}: there is no row {} among {}", kOp, d.row, logits.dim(0));
    if (d.temperature != 0) require_temperature(kOp, d.temperature);
  }
  for_float_type(kOp, logits, [&]<class T>() {
    const T* z = logits.data<T>();
    for_rows(static_cast<int64_t>(draws.size()), n_vocab, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        TokenDraw& d = draws[static_cast<size_t>(i)];
        draw_row(z + d.row * n_vocab, width, d.temperature, d.uniform, d.id, d.log_prob);
      }
    });
  });
  for (const TokenDraw& d : draws) {
    if (d.id == kBadRow) fail_row(d.row);
  }
}

}  // namespace gradus::kernels
