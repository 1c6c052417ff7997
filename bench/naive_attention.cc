#include "bench/naive_attention.h"

#include <algorithm>
#include <limits>

#include "gradus/core/thread_pool.h"
#include "gradus/kernels/convert.h"
#include "gradus/kernels/gemm.h"
#include "gradus/kernels/softmax.h"

namespace gradus::bench {

namespace {

constexpr int64_t kRowsPerTask = 16;

}  // namespace

NaiveAttention::NaiveAttention(int64_t n, double scale, bool causal, DType round_to)
    : scale_(scale), causal_(causal), round_to_(round_to), p_(Tensor::empty({n, n})) {}

void NaiveAttention::round(Tensor& x) const {
  if (round_to_ == DType::f32) return;
  kernels::convert(kernels::converted(x, round_to_), x);
}

void NaiveAttention::forward(const Tensor& q, const Tensor& k, const Tensor& v, Tensor& o) {
  const int64_t n = p_.dim(0);
  const float scale = static_cast<float>(scale_);
  kernels::gemm(q, k, p_, {.transpose_b = true});
  parallel_ranges(n, kRowsPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* row = p_.data<float>() + i * n;
      const int64_t visible = causal_ ? i + 1 : n;
      for (int64_t j = 0; j < visible; ++j) row[j] *= scale;
      std::fill(row + visible, row + n, -std::numeric_limits<float>::infinity());
    }
  });
  round(p_);
  kernels::softmax(p_, p_);
  round(p_);
  kernels::gemm(p_, v, o);
  round(o);
}

void NaiveAttention::backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o, const Tensor& d_o,
                              Tensor& d_q, Tensor& d_k, Tensor& d_v) {
  const int64_t n = p_.dim(0), D = q.dim(1);
  const float scale = static_cast<float>(scale_);
  if (!d_s_.defined()) d_s_ = Tensor::empty({n, n});
  kernels::gemm(p_, d_o, d_v, {.transpose_a = true});
  kernels::gemm(d_o, v, d_s_, {.transpose_b = true});
  round(d_s_);
  parallel_ranges(n, kRowsPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float *o_i = o.data<float>() + i * D, *d_o_i = d_o.data<float>() + i * D, *p = p_.data<float>() + i * n;
      float* d_s = d_s_.data<float>() + i * n;
      float delta = 0;
      for (int64_t d = 0; d < D; ++d) delta += o_i[d] * d_o_i[d];
      for (int64_t j = 0; j < n; ++j) d_s[j] = p[j] * (d_s[j] - delta) * scale;
    }
  });
  round(d_s_);
  kernels::gemm(d_s_, k, d_q);
  kernels::gemm(d_s_, q, d_k, {.transpose_a = true});
  for (Tensor* gradient : {&d_q, &d_k, &d_v}) round(*gradient);
}

}  // namespace gradus::bench
