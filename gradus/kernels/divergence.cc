#include "gradus/kernels/divergence.h"

#include "gradus/kernels/log_prob_row.h"
#include "gradus/kernels/softmax.h"

namespace gradus::kernels {

namespace {

void require_pair(std::string_view op, const Tensor& teacher, const Tensor& logits, const Tensor& y) {
  require_matrix(op, "logits", logits);
  require_tensor(op, "teacher", teacher, logits.shape(), logits);
  require_tensor(op, "y", y, {logits.dim(0)}, logits);
}

Tensor softmax_of(const Tensor& logits) {
  Tensor p = Tensor::empty(logits.shape(), logits.dtype());
  softmax(logits, p);
  return p;
}

}  // namespace

void divergence(const Tensor& teacher, const Tensor& logits, Tensor& y) {
  require_pair("divergence", teacher, logits, y);
  const Tensor p = softmax_of(teacher);
  for_float_type("divergence", logits, [&]<class T>() {
    const int64_t n = logits.dim(1);
    for_rows(logits.dim(0), n, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T *z_p = teacher.data<T>() + r * n, *z_q = logits.data<T>() + r * n, *p_r = p.data<T>() + r * n;
        // log p - log q is the difference of the logits and, since p sums to 1, one number for all j.
        double sum =
            static_cast<double>(row_log_sum_exp(z_q, n, T{1})) - static_cast<double>(row_log_sum_exp(z_p, n, T{1}));
        for (int64_t j = 0; j < n; ++j)
          sum += static_cast<double>(p_r[j]) * (static_cast<double>(z_p[j]) - static_cast<double>(z_q[j]));
        y.data<T>()[r] = static_cast<T>(sum);
      }
    });
  });
}

void divergence_backward(const Tensor& teacher, Tensor& logits, const Tensor& d_y) {
  require_pair("divergence_backward", teacher, logits, d_y);
  const Tensor p = softmax_of(teacher);
  softmax(logits, logits);
  for_float_type("divergence_backward", logits, [&]<class T>() {
    const int64_t n = logits.dim(1);
    for_rows(logits.dim(0), n, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T g = d_y.data<T>()[r];
        T* q = logits.data<T>() + r * n;
        const T* p_r = p.data<T>() + r * n;
        for (int64_t j = 0; j < n; ++j) q[j] = g * (q[j] - p_r[j]);
      }
    });
  });
}

}  // namespace gradus::kernels
