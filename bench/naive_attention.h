// Attention as the textbook writes it, one head at a time and with the fast products of this house, but with the whole
// N x N matrix of weights in memory: what tiles are compared with.
#pragma once

#include <cstdint>

#include "gradus/core/tensor.h"

namespace gradus::bench {

class NaiveAttention {
 public:
  NaiveAttention(int64_t n, double scale, bool causal, DType round_to = DType::f32);

  // q, k, v, o [n, head_size], f32. With `round_to` the numbers are those of a 16-bit dtype: every matrix in memory, o
  // and the gradients included, is rounded to it after its product, whose sums are f32.
  void forward(const Tensor& q, const Tensor& k, const Tensor& v, Tensor& o);
  // After forward on the same head, whose weights it still holds.
  void backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o, const Tensor& d_o, Tensor& d_q,
                Tensor& d_k, Tensor& d_v);

  // Of the N x N matrices: one for the forward, two for the backward.
  static int64_t bytes(int64_t n, bool backward) { return n * n * int64_t{4} * (backward ? 2 : 1); }

 private:
  void round(Tensor& x) const;

  double scale_;
  bool causal_;
  DType round_to_;
  Tensor p_, d_s_;  // [n, n]; d_s_ is made by the first backward
};

}  // namespace gradus::bench
