// A multilayer perceptron: linear layers with an activation between them, none behind the last. The network of classic
// reinforcement learning.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "gradus/autograd/ops.h"
#include "gradus/nn/precision.h"

namespace gradus::nn {

struct MlpConfig {
  int64_t inputs = 1, outputs = 1;
  std::vector<int64_t> hidden = {64, 64};  // widths of the layers between
  std::string activation = "relu";         // relu or tanh
};

class Mlp {
 public:
  // Weights are zero until `initialise`. Throws invalid_argument on a width below 1 or an activation that does not
  // exist.
  explicit Mlp(const MlpConfig& config, Precision precision = Precision::fp32);
  Mlp(const Mlp&) = delete;
  Mlp& operator=(const Mlp&) = delete;

  const MlpConfig& config() const { return config_; }
  const PrecisionFormats& formats() const { return formats_; }

  // Weights and biases uniform in +-1/sqrt(fan in), as PyTorch's Linear draws them; those of the last layer by
  // `output_scale` times that. Streams: Rng(seed, init, index).
  void initialise(uint64_t seed, double output_scale = 1);

  // Weight, then bias, layer by layer: "0.weight", "0.bias", "1.weight", ...
  const std::vector<autograd::Parameter*>& parameters() const { return order_; }

  // Lays the matrices out for few rows at a time (kernels::pack_matrix), until they change; no bit of a result does.
  void pack();

  // x [rows, inputs] -> [rows, outputs], of the matrices' dtype.
  autograd::Var operator()(autograd::Var x);
  // The same bits without a tape.
  Tensor infer(const Tensor& x) const;

  // Weights of a network of the same shape: theirs, or a little of theirs, w <- w + tau (w' - w).
  void follow(const Mlp& other, double tau = 1);

 private:
  MlpConfig config_;
  PrecisionFormats formats_;
  autograd::Var (*activation_)(autograd::Var);
  void (*activate_)(const Tensor& x, Tensor& y);
  std::deque<autograd::Parameter> storage_;
  std::vector<autograd::Parameter*> order_;
};

}  // namespace gradus::nn
