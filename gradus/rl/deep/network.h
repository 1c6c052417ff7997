// A multilayer perceptron with its tapes, whose outputs are doubles whatever it computes in: the losses of deep
// reinforcement learning are few numbers a row, and each algorithm writes down their gradient in closed form.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "gradus/autograd/tape.h"
#include "gradus/core/safetensors.h"
#include "gradus/nn/mlp.h"

namespace gradus::rl {

class Network {
 public:
  // Weights are drawn by the seed (nn::Mlp::initialise).
  Network(const nn::MlpConfig& config, nn::Precision precision, uint64_t seed, double output_scale = 1);

  // Its outputs, [rows * outputs], valid until the next call of the same function. `record` keeps what `loss` needs.
  //   x  [rows, inputs] f32
  std::span<const double> forward(const Tensor& x);
  std::span<const double> record(const Tensor& x, bool input_gradient = false);

  // sum_i weights[i] * output i of the last `record`, for a backward pass: the weights are dL/d output.
  autograd::Var loss(std::span<const double> weights) { return autograd::weighted_sum(y_, weights); }
  // dL/dx of that record, after the backward pass.   [rows * inputs], of a record with input_gradient
  std::span<const double> input_gradient();

  nn::Mlp& mlp() { return mlp_; }
  std::vector<autograd::Parameter*> parameters() { return mlp_.parameters(); }
  int64_t outputs() const { return mlp_.config().outputs; }

  // Weights, by name behind `prefix`, shared with the network.
  void add_state(const std::string& prefix, NamedTensors& state);
  void restore(const std::string& prefix, const NamedTensors& state);  // throws corrupt

 private:
  nn::Mlp mlp_;
  autograd::Tape tape_;
  autograd::Var x_, y_;  // of the last record
  std::vector<double> forward_, recorded_, input_gradient_;
};

}  // namespace gradus::rl
