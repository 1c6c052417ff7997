#include "gradus/nn/mlp.h"

#include <cmath>

#include "gradus/core/error.h"
#include "gradus/core/rng.h"

namespace gradus::nn {

using autograd::Parameter;
using autograd::Var;

Mlp::Mlp(const MlpConfig& config, DType dtype) : config_(config) {
  require(config.activation == "relu" || config.activation == "tanh",
          "mlp: activation is '{}', but must be relu or tanh", config.activation);
  activation_ = config.activation == "relu" ? autograd::relu : autograd::tanh;
  std::vector<int64_t> widths = {config.inputs};
  widths.insert(widths.end(), config.hidden.begin(), config.hidden.end());
  widths.push_back(config.outputs);
  for (const int64_t width : widths) require(width >= 1, "mlp: a width is {}, but must be at least 1", width);
  for (size_t i = 0; i + 1 < widths.size(); ++i) {
    for (const auto& [name, shape] :
         {std::pair{"weight", Shape{widths[i + 1], widths[i]}}, {"bias", Shape{widths[i + 1]}}}) {
      storage_.push_back({.name = fmt::format("{}.{}", i, name),
                          .value = Tensor::zeros(shape, dtype),
                          .grad = Tensor::zeros(shape, dtype)});
      order_.push_back(&storage_.back());
    }
  }
}

void Mlp::initialise(uint64_t seed) {
  for (size_t i = 0; i < order_.size(); ++i) {
    Parameter& p = *order_[i];
    const int64_t fan_in = order_[i - i % 2]->value.dim(1);  // of the layer's weight
    const double bound = 1 / std::sqrt(static_cast<double>(fan_in));
    Rng rng(seed, Purpose::init, i);
    Tensor drawn = Tensor::empty(p.value.shape(), DType::f64);
    for (double& x : drawn.span<double>()) x = bound * (2 * rng.uniform() - 1);
    kernels::convert(drawn, p.weights());
    p.changed();
  }
}

Var Mlp::operator()(Var x) {
  for (size_t i = 0; i < order_.size(); i += 2) {
    x = autograd::linear(x, *order_[i], order_[i + 1]);
    if (i + 2 < order_.size()) x = activation_(x);
  }
  return x;
}

void Mlp::follow(const Mlp& other, double tau) {
  require(order_.size() == other.order_.size(), "mlp: {} parameters cannot follow {}", order_.size(),
          other.order_.size());
  for (size_t i = 0; i < order_.size(); ++i) {
    Tensor& to = order_[i]->value;
    const Tensor& from = other.order_[i]->value;
    require(to.shape() == from.shape() && to.dtype() == from.dtype(), "mlp: {} is {} but the other's is {}",
            order_[i]->name, to_string(to.shape()), to_string(from.shape()));
    const auto move = [&]<class T>(std::span<T> w, std::span<const T> w2) {
      for (size_t k = 0; k < w.size(); ++k) w[k] = tau == 1 ? w2[k] : w[k] + static_cast<T>(tau) * (w2[k] - w[k]);
    };
    if (to.dtype() == DType::f64) {
      move(to.span<double>(), from.span<double>());
    } else {
      move(to.span<float>(), from.span<float>());
    }
    order_[i]->changed();
  }
}

}  // namespace gradus::nn
