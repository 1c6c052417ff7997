#include "gradus/kernels/softmax.h"

#include "gradus/kernels/cpu/softmax.h"
#include "gradus/kernels/dispatch.h"
#include "gradus/kernels/log_prob_row.h"

namespace gradus::kernels {

namespace {

void require_head(std::string_view op, const Tensor& logits, std::span<const int32_t> ids, double temperature) {
  require_matrix(op, "logits", logits);
  require_rows(op, "ids", ids.size(), logits.dim(0));
  require_indices(op, "id", ids, logits.dim(1));
  require_temperature(op, temperature);
}

}  // namespace

void softmax(const Tensor& x, Tensor& y) {
  require_matrix("softmax", "x", x);
  require_tensor("softmax", "y", y, x.shape(), x);
  for_float_type("softmax", x, [&]<class T>() {
    const auto kernel = choose(ref::softmax<T>, cpu::softmax);
    const int64_t cols = x.dim(1);
    const T* x_p = x.data<T>();
    T* y_p = y.data<T>();
    for_rows(x.dim(0), cols, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) kernel(x_p + r * cols, cols, y_p + r * cols);
    });
  });
}

void log_prob(const Tensor& logits, std::span<const int32_t> ids, double temperature, Tensor& log_p, Tensor& lse) {
  require_head("log_prob", logits, ids, temperature);
  require_tensor("log_prob", "log_p", log_p, {logits.dim(0)}, logits);
  require_tensor("log_prob", "lse", lse, {logits.dim(0)}, logits);
  for_float_type("log_prob", logits, [&]<class T>() {
    const int64_t n_vocab = logits.dim(1);
    const T inv = inverse_temperature<T>(temperature);
    const T* z = logits.data<T>();
    T *log_p_p = log_p.data<T>(), *lse_p = lse.data<T>();
    for_rows(logits.dim(0), n_vocab, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        lse_p[r] = row_log_sum_exp(z + r * n_vocab, n_vocab, inv);
        log_p_p[r] = row_log_prob(z[r * n_vocab + ids[static_cast<size_t>(r)]], inv, lse_p[r]);
      }
    });
  });
}

void log_prob_backward(Tensor& logits, std::span<const int32_t> ids, double temperature, const Tensor& lse,
                       const Tensor& d_log_p) {
  constexpr std::string_view kOp = "log_prob_backward";
  require_head(kOp, logits, ids, temperature);
  require_tensor(kOp, "lse", lse, {logits.dim(0)}, logits);
  require_tensor(kOp, "d_log_p", d_log_p, {logits.dim(0)}, logits);
  for_float_type(kOp, logits, [&]<class T>() {
    const auto kernel = choose(ref::log_prob_backward<T>, cpu::log_prob_backward);
    const int64_t n_vocab = logits.dim(1);
    const T inv = inverse_temperature<T>(temperature);
    T* z = logits.data<T>();
    const T *lse_p = lse.data<T>(), *d_log_p_p = d_log_p.data<T>();
    for_rows(logits.dim(0), n_vocab, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        T* row = z + r * n_vocab;
        const T g = d_log_p_p[r] * inv;
        if (g == 0) {
          std::fill_n(row, n_vocab, T(0));
          continue;
        }
        kernel({.z = row, .n = n_vocab, .inv = inv, .lse = lse_p[r], .g = g});
        row[ids[static_cast<size_t>(r)]] += g;
      }
    });
  });
}

}  // namespace gradus::kernels
