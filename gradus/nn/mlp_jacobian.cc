#include "gradus/nn/mlp_jacobian.h"

#include "gradus/core/error.h"
#include "gradus/kernels/activation.h"
#include "gradus/kernels/convert.h"
#include "gradus/kernels/elementwise.h"
#include "gradus/kernels/gemm.h"

namespace gradus::nn {

namespace {

Tensor tensor_of(std::span<const double> values, const Shape& shape, DType dtype) {
  return kernels::converted(Tensor::from<double>(values, shape), dtype);
}

void copy(const Tensor& x, std::span<double> to) {
  const Tensor wide = kernels::converted(x, DType::f64);
  std::ranges::copy(wide.span<double>(), to.begin());
}

}  // namespace

MlpJacobian::MlpJacobian(Mlp& mlp) : mlp_(mlp), dtype_(mlp.formats().vectors) {
  for (const autograd::Parameter* p : mlp.parameters()) n_weights_ += p->weights().numel();
}

void MlpJacobian::at(const Tensor& x) {
  rows_ = x.dim(0);
  weights_.clear();
  for (const autograd::Parameter* p : mlp_.parameters()) weights_.push_back(kernels::converted(p->weights(), dtype_));
  h_.clear();
  h_.push_back(kernels::converted(x, dtype_));
  for (size_t i = 0; i + 2 < weights_.size(); i += 2) {
    Tensor y = Tensor::empty({rows_, weights_[i].dim(0)}, dtype_);
    kernels::gemm(h_.back(), weights_[i], y, {.transpose_b = true});
    kernels::add_bias(y, weights_[i + 1]);
    mlp_.config().activation == "relu" ? kernels::relu(y, y) : kernels::tanh(y, y);
    h_.push_back(std::move(y));
  }
}

void MlpJacobian::times_slope(const Tensor& h, Tensor& y) const {
  mlp_.config().activation == "relu" ? kernels::relu_backward(h, y, y) : kernels::tanh_backward(h, y, y);
}

// Layer by layer, with t the change of its inputs h: t W^T + h V^T + v_b, then times the slope of the activation.
void MlpJacobian::times(std::span<const double> v, std::span<double> out) {
  GRADUS_CHECK(std::ssize(v) == n_weights_ && std::ssize(out) == n_outputs());
  Tensor t;
  size_t at = 0;
  const auto next = [&](const Tensor& like) {
    const auto n = static_cast<size_t>(like.numel());
    at += n;
    return tensor_of(v.subspan(at - n, n), like.shape(), dtype_);
  };
  for (size_t i = 0; i < weights_.size(); i += 2) {
    const Tensor& h = h_[i / 2];
    const Tensor V = next(weights_[i]), v_b = next(weights_[i + 1]);
    Tensor y = Tensor::empty({rows_, V.dim(0)}, dtype_);
    kernels::gemm(h, V, y, {.transpose_b = true});
    if (t.defined()) kernels::gemm(t, weights_[i], y, {.transpose_b = true, .accumulate = true});
    kernels::add_bias(y, v_b);
    if (i + 2 < weights_.size()) times_slope(h_[i / 2 + 1], y);
    t = std::move(y);
  }
  copy(t, out);
}

void MlpJacobian::transposed_times(std::span<const double> u, std::span<double> out) {
  GRADUS_CHECK(std::ssize(u) == n_outputs() && std::ssize(out) == n_weights_);
  Tensor g = tensor_of(u, {rows_, mlp_.config().outputs}, dtype_);
  size_t end = out.size();
  const auto put = [&](const Tensor& x) {
    const auto n = static_cast<size_t>(x.numel());
    end -= n;
    copy(x, out.subspan(end, n));
  };
  for (size_t i = weights_.size(); i > 0; i -= 2) {
    const Tensor &W = weights_[i - 2], &h = h_[i / 2 - 1];
    Tensor d_b = Tensor::zeros(weights_[i - 1].shape(), dtype_), d_W = Tensor::empty(W.shape(), dtype_);
    kernels::bias_backward(g, d_b);
    put(d_b);
    kernels::gemm(g, h, d_W, {.transpose_a = true});
    put(d_W);
    if (i == 2) break;
    Tensor d_h = Tensor::empty(h.shape(), dtype_);
    kernels::gemm(g, W, d_h);
    times_slope(h, d_h);
    g = std::move(d_h);
  }
}

}  // namespace gradus::nn
