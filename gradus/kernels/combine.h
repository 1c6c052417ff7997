// Element by element, many arrays become one: what collectives reduce with. The arrays are raw memory, since they lie
// in slots that are shared with other processes. Runs on the calling thread alone: the ranks are the parallelism.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "gradus/core/dtype.h"

namespace gradus::kernels {

enum class ReduceOp : uint8_t { sum, mean, min, max, prod };
std::string_view name(ReduceOp op);

// y[i] = T(x_0[i], ..., x_{n-1}[i]) over the arrays' order, where T is the canonical tree: neighbours first,
// ((x0 + x1) + (x2 + x3)) + ..., by the rule of a binary counter: two partial results of equal height become one; what
// is left when n is no power of two is added from the right, the smallest first. It depends on n alone, never on the
// position of an element or on `count`.
//   xs     n >= 1 arrays of `count` elements of `dtype` (any but none of it aligned beyond the dtype's size)
//   y      [count]; may be one of xs, partial overlap is not allowed
// 16-bit floats are widened to f32 first, and rounded once at the end. mean = the sum, divided once by n_mean (>= 1;
// integers truncate towards zero; integer sums wrap around). min and max: NaN if one is, and -0 < +0; so all ops but
// float sums and products are the same in any order.
// Throws invalid_argument if xs is empty.
void combine(ReduceOp op, DType dtype, std::span<const void* const> xs, void* y, int64_t count, int64_t n_mean = 1);

// y[i] = y[i] / n, as combine divides for mean. f64, f32, integers.
void divide(DType dtype, void* y, int64_t count, int64_t n);

// Do all orders give the same bits? No for sums, means and products of floats.
bool order_matters(ReduceOp op, DType dtype);

}  // namespace gradus::kernels
