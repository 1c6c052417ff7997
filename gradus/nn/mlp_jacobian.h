// The derivative of a network's outputs by its weights at a batch of inputs, as products: J v in forward mode, J^T u in
// reverse mode. J itself, [rows * outputs, n_weights], is never formed.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "gradus/nn/mlp.h"

namespace gradus::nn {

class MlpJacobian {
 public:
  // The network outlives this.
  explicit MlpJacobian(Mlp& mlp);

  // Goes to these inputs and the weights as they are now; in f32, or f64 for fp64. Comes before the products.
  //   x  [rows, inputs] f32
  void at(const Tensor& x);

  int64_t n_weights() const { return n_weights_; }  // of Mlp::parameters(), one behind the other
  int64_t n_outputs() const { return rows_ * mlp_.config().outputs; }

  // out = J v.     v [n_weights], out [n_outputs]
  void times(std::span<const double> v, std::span<double> out);
  // out = J^T u.   u [n_outputs], out [n_weights]
  void transposed_times(std::span<const double> u, std::span<double> out);

 private:
  // y *= the derivative of the activation whose results are h.
  void times_slope(const Tensor& h, Tensor& y) const;

  Mlp& mlp_;
  DType dtype_;
  int64_t rows_ = 0, n_weights_ = 0;
  std::vector<Tensor> weights_;  // in dtype_
  std::vector<Tensor> h_;        // inputs of each layer
};

}  // namespace gradus::nn
