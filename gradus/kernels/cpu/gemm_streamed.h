// The product for few rows: Y = X W^T with W [N, K] read where it lies, once for all rows, in the order of
// gradus/kernels/gemm.h. Squares of W are transposed in registers, so that a vector holds one k of several columns and
// every sum runs down k; nothing is packed but X. What limits it is reading W.
#pragma once

#include <cstdint>
#include <span>

#include "gradus/core/dtype.h"

namespace gradus::kernels::cpu {

// Columns of one task, and the fewest that an output may have.
inline constexpr int64_t kStreamedColumns = 16;

struct StreamedOutput {
  const void* w;  // [n, k] of the arguments' dtype, dense
  int64_t n;      // >= kStreamedColumns
  // [n] or null: added to an f32 sum; or to a sum that was rounded to 16 bits, which is rounded again: what add_bias
  // does.
  const float* bias;
  void* y;  // [m, n] dense
  DType y_dtype;
};

// Several products of the same X, as one parallel region.
struct StreamedArguments {
  DType dtype;            // of every W: f32 | bf16 | f16
  int64_t m, k, k_block;  // m, k > 0
  const void* x;          // [m, ldx] float (of f32 and f16) | BFloat16, zero in the column behind an odd k
  int64_t ldx;            // of bf16 even, and ldx >= k
  std::span<const StreamedOutput> outputs;
};
// Rows up to which this is faster than packing W [n, k] first.
int64_t gemm_streamed_rows(int64_t n, int64_t k);

void gemm_streamed(const StreamedArguments& g);  // parallel on pool()

}  // namespace gradus::kernels::cpu
