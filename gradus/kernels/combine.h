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
ReduceOp parse_reduce_op(std::string_view name);  // throws invalid_argument when there is none of this name

// y[i] = T(x_0[i], ..., x_{n-1}[i]) over the arrays' order, where T is the canonical tree: neighbours first,
// ((x0 + x1) + (x2 + x3)) + ..., by the rule of a binary counter: two partial results of equal height become one; what
// is left when n is no power of two is added from the right, the smallest first. That is T(x_0, ..., x_{p-1}) + T(x_p,
// ..., x_{n-1}), p the greatest power of two below n. It depends on n alone, never on the position of an element or on
// `count`.
//   xs     n >= 1 arrays of `count` elements of `dtype`, any of them, aligned to an element's size
//   y      [count]; may be one of xs, partial overlap is not allowed
// 16-bit floats are widened to f32 first, and rounded once at the end. mean = the sum, divided once by n_mean (>= 1;
// integers truncate towards zero). Integer sums and products wrap around. min and max: the quiet NaN if one is NaN, and
// -0 < +0; so all ops but float sums, means and products are the same in any order. One array's sum, min, max or
// product is its copy. The bits are the same on every instruction set, but for those of a NaN in sums, means and
// products. Throws invalid_argument if xs is empty or n_mean below 1. Allocates nothing. Cost: each array is read once;
// partial results of more than 4 arrays stay in the first-level cache.
void combine(ReduceOp op, DType dtype, std::span<const void* const> xs, void* y, int64_t count, int64_t n_mean = 1);

// y[i] = y[i] / n, as combine divides for mean.
void divide(DType dtype, void* y, int64_t count, int64_t n);

// Do other orders give other bits? For sums, means and products of floats.
bool order_matters(ReduceOp op, DType dtype);

}  // namespace gradus::kernels
