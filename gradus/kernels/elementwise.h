// Elementwise arithmetic, biases, and sums over whole tensors. dtype f64 | f32 everywhere, and bf16 | f16 but for lerp:
// these are widened, computed on in f32, and rounded once where they are stored. Biases are f32 beside them. Scalars
// are rounded to the dtype. All throw invalid_argument on a shape or dtype mismatch, unsupported on other dtypes.
// Results do not depend on the thread count. `mul-add` is one multiply-add of the active instruction set (isa.h).
#pragma once

#include <cstdint>
#include <span>

#include "gradus/core/tensor.h"

namespace gradus::kernels {

inline constexpr int64_t kSumChunk = 4096;    // elements per partial sum of a whole-tensor sum
inline constexpr int64_t kBiasRowChunk = 64;  // rows per partial sum of a bias gradient

// Same shape for all tensors of a call; outputs may be an input itself.
void fill(Tensor& x, double value);
void add(const Tensor& a, const Tensor& b, Tensor& y);  // y = a + b
void add_in_place(Tensor& y, const Tensor& x);          // y += x
void scale_in_place(Tensor& x, double s);               // x *= s
void axpy(double alpha, const Tensor& x, Tensor& y);    // y = alpha * x + y, one mul-add
void lerp(double t, const Tensor& x, Tensor& y);        // y = t * (x - y) + y, one mul-add

// y[r, j] += bias[j].   y [rows, N], bias [N].
void add_bias(Tensor& y, const Tensor& bias);

// d_bias[j] += sum_r d_y[r, j]: rows ascending from 0 within chunks of kBiasRowChunk rows; the chunks are added to
// d_bias one by one, ascending.   d_y [rows, N], d_bias [N].
void bias_backward(const Tensor& d_y, Tensor& d_bias);

// Sums in double: per chunk of kSumChunk elements 16 lanes by index % 16, ascending, product rounded then added, and
// the tree of ref::sum_16_lanes; then the chunks ascending. The product of two floats is exact in double, so for f32
// the bits are the same on every instruction set.
double sum_of_squares(const Tensor& x);
// The sums of the chunks, [ceil(numel / kSumChunk)]: added up, ascending from 0, they are sum_of_squares(x).
void sum_of_squares(const Tensor& x, std::span<double> chunks);
double dot(const Tensor& x, const Tensor& w);

// No element is infinite or NaN.
bool all_finite(const Tensor& x);

// How many elements lie between -limit and limit, both left out.
int64_t count_below(const Tensor& x, double limit);

}  // namespace gradus::kernels
