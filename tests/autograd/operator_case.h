// What the tests of operators share: an operator with its inputs as one case, its outputs and gradients, and a check of
// those against central differences.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "gradus/autograd/ops.h"
#include "gradus/autograd/tape.h"
#include "tests/kernels/grid.h"

namespace gradus::autograd {

inline Parameter random_parameter(Shape shape, DType dtype, uint64_t stream, double scale = 1) {
  return {
      fmt::format("p{}", stream), kernels::random_tensor(shape, dtype, stream, scale), Tensor::zeros(shape, dtype), {}};
}

// y = f(inputs), with `parameters` captured by f. Held by pointer: f refers to what lies in it.
struct OperatorCase {
  std::vector<Tensor> inputs;
  std::vector<Parameter> parameters;
  std::vector<Tensor> constants;
  std::vector<Parameter> constant_parameters;            // without gradients
  std::vector<int32_t> ids, rows, offsets, block_table;  // whatever integers f needs
  kernels::RopeTable rope_table;
  std::function<Var(Tape&, std::vector<Var>&)> f;

  Var operator()(Tape& tape) {
    std::vector<Var> vars;
    for (const Tensor& x : inputs) vars.push_back(tape.emit(x, true));
    return f(tape, vars);
  }
};

struct Outcome {
  Tensor y;
  std::vector<Tensor> gradients;  // of the inputs, then of the parameters
};

// Weights of the loss sum_i w_i y_i, far from equal.
inline std::vector<double> loss_weights(int64_t n) {
  std::vector<double> w;
  Rng rng(3, Purpose::test);
  for (int64_t i = 0; i < n; ++i) w.push_back(rng.normal());
  return w;
}

inline Outcome run(Tape& tape, OperatorCase& c) {
  for (Parameter& p : c.parameters) p.grad.fill_zero();
  tape.reset();
  std::vector<Var> vars;
  for (const Tensor& x : c.inputs) vars.push_back(tape.emit(x, true));
  const Var y = c.f(tape, vars);
  const std::vector<double> weights = loss_weights(y.value().numel());
  Outcome out{y.value().clone(), {}};
  tape.backward(weighted_sum(y, weights));
  for (size_t i = 0; i < vars.size(); ++i) {
    const Tensor& grad = tape.grad(vars[i]);
    out.gradients.push_back(grad.defined() ? grad.clone() : Tensor::zeros(c.inputs[i].shape(), c.inputs[i].dtype()));
  }
  for (const Parameter& p : c.parameters) out.gradients.push_back(p.grad.clone());
  tape.reset();
  return out;
}

inline Outcome run(OperatorCase& c) {
  Tape tape;
  return run(tape, c);
}

// The loss alone, without recording.
inline double loss(OperatorCase& c) {
  Tape tape(Tape::Mode::inference);
  const Var y = c(tape);
  const std::vector<double> weights = loss_weights(y.value().numel());
  return weighted_sum(y, weights).value().data<double>()[0];
}

// All gradients of an f64 case against central differences.
inline void expect_central_differences(OperatorCase& c) {
  const Outcome out = run(c);
  for (size_t i = 0; i < out.gradients.size(); ++i) {
    const bool is_input = i < c.inputs.size();
    SCOPED_TRACE((is_input ? "input " : "parameter ") + std::to_string(is_input ? i : i - c.inputs.size()));
    Tensor& x = is_input ? c.inputs[i] : c.parameters[i - c.inputs.size()].value;
    kernels::expect_gradient(x, out.gradients[i], [&] { return loss(c); });
  }
}

}  // namespace gradus::autograd
