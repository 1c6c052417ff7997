// Floating-point formats: which one is computed in, and a tensor's numbers in another.
#pragma once

#include "gradus/core/tensor.h"

namespace gradus::kernels {

// What a dtype is computed in: f64 for f64, f32 for all others. Statistics, biases, gains and the gradients of weights
// are kept in it too.
constexpr DType computed_in(DType dtype) {
  return dtype == DType::f64 ? DType::f64 : DType::f32;
}

// y = x, rounded to nearest, ties to even, where y's format is narrower (f64 goes to a 16-bit format by way of f32).
//   x, y  one shape, each f64 | f32 | bf16 | f16, no overlap unless they are of one dtype
// NaN stays NaN; what exceeds f16 becomes infinite. Parallel. Throws invalid_argument on a shape mismatch, unsupported
// on another dtype or device.
void convert(const Tensor& x, Tensor& y);
Tensor converted(const Tensor& x, DType dtype);  // a new tensor; x itself when it has the dtype

}  // namespace gradus::kernels
