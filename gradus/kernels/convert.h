// A tensor's numbers in another floating-point format.
#pragma once

#include "gradus/core/tensor.h"

namespace gradus::kernels {

// y = x, rounded to nearest, ties to even, where y's format is narrower (f64 goes to a 16-bit format by way of f32).
//   x, y  one shape, each f64 | f32 | bf16 | f16, no overlap unless they are of one dtype
// NaN stays NaN; what exceeds f16 becomes infinite. Parallel. Throws invalid_argument on a shape mismatch, unsupported
// on another dtype or device.
void convert(const Tensor& x, Tensor& y);
Tensor converted(const Tensor& x, DType dtype);  // a new tensor; x itself when it has the dtype

}  // namespace gradus::kernels
