#include "gradus/nn/mlp.h"

#include <cmath>

#include "gradus/core/error.h"
#include "gradus/core/rng.h"
#include "gradus/kernels/activation.h"
#include "gradus/kernels/elementwise.h"

namespace gradus::nn {

using autograd::Parameter;
using autograd::Var;

Mlp::Mlp(const MlpConfig& config, Precision precision) : config_(config), formats_(nn::formats(precision)) {
  require(config.activation == "relu" || config.activation == "tanh",
          "mlp: activation is '{}', but must be relu or tanh", config.activation);
  const bool relu = config.activation == "relu";
  activation_ = relu ? autograd::relu : autograd::tanh;
  activate_ = relu ? kernels::relu : kernels::tanh;
  std::vector<int64_t> widths = {config.inputs};
  widths.insert(widths.end(), config.hidden.begin(), config.hidden.end());
  widths.push_back(config.outputs);
  for (const int64_t width : widths) require(width >= 1, "mlp: a width is {}, but must be at least 1", width);
  for (size_t i = 0; i + 1 < widths.size(); ++i) {
    const Shape weight = {widths[i + 1], widths[i]}, bias = {widths[i + 1]};
    storage_.push_back({.name = fmt::format("{}.weight", i),
                        .value = Tensor::zeros(weight, formats_.matrices),
                        .grad = Tensor::zeros(weight, formats_.gradients)});
    if (formats_.master) storage_.back().master = Tensor::zeros(weight, formats_.vectors);
    order_.push_back(&storage_.back());
    storage_.push_back({.name = fmt::format("{}.bias", i),
                        .value = Tensor::zeros(bias, formats_.vectors),
                        .grad = Tensor::zeros(bias, formats_.vectors)});
    order_.push_back(&storage_.back());
  }
}

void Mlp::initialise(uint64_t seed, double output_scale) {
  for (size_t i = 0; i < order_.size(); ++i) {
    Parameter& p = *order_[i];
    const int64_t fan_in = order_[i - i % 2]->value.dim(1);  // of the layer's weight
    const bool last = i + 2 >= order_.size();
    const double bound = (last ? output_scale : 1) / std::sqrt(static_cast<double>(fan_in));
    Rng rng(seed, Purpose::init, i);
    Tensor drawn = Tensor::empty(p.value.shape(), DType::f64);
    for (double& x : drawn.span<double>()) x = bound * (2 * rng.uniform() - 1);
    kernels::convert(drawn, p.weights());
    p.changed();
  }
}

void Mlp::pack() {
  for (size_t i = 0; i < order_.size(); i += 2) {
    Parameter& weight = *order_[i];
    if (!weight.packed.panels.defined()) weight.packed = kernels::pack_matrix(weight.value, true);
  }
}

Var Mlp::operator()(Var x) {
  for (size_t i = 0; i < order_.size(); i += 2) {
    x = autograd::linear(x, *order_[i], order_[i + 1]);
    if (i + 2 < order_.size()) x = activation_(x);
  }
  return x;
}

Tensor Mlp::infer(const Tensor& x) const {
  Tensor y = x;
  for (size_t i = 0; i < order_.size(); i += 2) {
    const Parameter& weight = *order_[i];
    const Tensor& bias = order_[i + 1]->value;
    Tensor next = Tensor::empty({y.dim(0), weight.value.dim(0)}, weight.value.dtype());
    weight.packed.panels.defined() ? kernels::linear(y, weight.packed, bias, next)
                                   : kernels::linear(y, weight.value, bias, next);
    if (i + 2 < order_.size()) activate_(next, next);
    y = std::move(next);
  }
  return y;
}

void Mlp::follow(const Mlp& other, double tau) {
  require(order_.size() == other.order_.size(), "mlp: {} parameters cannot follow {}", order_.size(),
          other.order_.size());
  for (size_t i = 0; i < order_.size(); ++i) {
    Tensor& to = order_[i]->weights();
    const Tensor& from = other.order_[i]->weights();
    require(to.shape() == from.shape() && to.dtype() == from.dtype(), "mlp: {} is {} but the other's is {}",
            order_[i]->name, to.shape(), from.shape());
    tau == 1 ? to.copy_from(from) : kernels::lerp(tau, from, to);
    order_[i]->changed();
  }
}

}  // namespace gradus::nn
