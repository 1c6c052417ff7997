// Activations between matrix products. SwiGLU: Shazeer 2020, "GLU Variants Improve Transformer", eq. 6 with beta = 1.
// ReLU and tanh: of the small networks of classic reinforcement learning.
#pragma once

#include "gradus/core/tensor.h"

namespace gradus::kernels {

// y = (gate * s) * up,   s = sigmoid(gate) = 1 / (1 + exp(-gate)) with ref::exp.
//   gate, up  any shape  f64 | f32 | bf16 | f16; 16-bit numbers are widened, and rounded once where they are stored
//   y         shape and dtype of gate; may be gate or up itself
// Throws invalid_argument on a shape or dtype mismatch, unsupported on other dtypes.
void swiglu(const Tensor& gate, const Tensor& up, Tensor& y);

// d_up = d_y * (gate * s),   d_gate = (d_y * up) * (s * t),   t = 1 + gate * (1 - s) in one multiply-add.
//   gate, up, d_y   as in the forward
//   d_gate, d_up    overwritten; each may be one of the inputs, but not each other
void swiglu_backward(const Tensor& gate, const Tensor& up, const Tensor& d_y, Tensor& d_gate, Tensor& d_up);

// y = max(x, 0); a NaN stays.   x any shape, dtypes as above; y shape and dtype of x; may be x itself.
void relu(const Tensor& x, Tensor& y);

// d_x = d_y where y > 0, else 0.   y as the forward left it; d_x overwritten, may be d_y itself.
void relu_backward(const Tensor& y, const Tensor& d_y, Tensor& d_x);

// y = tanh(x) = sign(x) (1 - e) / (1 + e),   e = exp(-2 |x|) with ref::exp: an absolute error of 1e-7 in f32.
void tanh(const Tensor& x, Tensor& y);

// d_x = d_y (1 - y^2), 1 - y^2 in one multiply-add.   As relu_backward.
void tanh_backward(const Tensor& y, const Tensor& d_y, Tensor& d_x);

}  // namespace gradus::kernels
