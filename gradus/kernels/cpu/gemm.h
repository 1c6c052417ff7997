// Our own matrix product, one text for every instruction set, in the order of gradus/kernels/gemm.h. Its operands are
// lanes of 32 bits: a float, or a pair of bf16 numbers at k = 2i and 2i + 1, which one step multiplies.
#pragma once

#include <cstdint>

#include "gradus/core/dtype.h"

namespace gradus::kernels::cpu {

enum class GemmLane { f32, bf16_pair };

// Numbers of a matrix that is read where it lies, although its rows are not side by side: little enough for the
// second-level cache to serve, while copying it would take a good part of the time of the product.
inline constexpr int64_t kReadInPlace = 16384;

// Columns of a packed panel on the active instruction set.
int64_t gemm_panel_width();

// Lanes that `n_cols` columns of K rows take when packed.
int64_t gemm_packed_size(int64_t k_lanes, int64_t n_cols);

// op(B) [K, N] as it is stored, row stride ldb. With bf16 the last lane of an odd K is filled with a zero.
struct GemmRight {
  GemmLane lane;
  const void* b;  // float | BFloat16
  int64_t ldb;
  bool transpose;
  int64_t k, n;

  int64_t k_lanes() const { return lane == GemmLane::f32 ? k : (k + 1) / 2; }
};

// Packs op(B) into panels [ceil(N / width), k_lanes, width], zero-padded. Parallel.
void gemm_pack(const GemmRight& right, float* panels);

// Where the multiplication finds op(B): panels of gemm_panel_width() columns. Packed ones, or
// those of a matrix of whole panels where it lies.
struct GemmPanels {
  const float* data;
  int64_t panel_step, k_step;  // from a panel to the next, from a lane k to the next
};
GemmPanels gemm_panels(const float* packed, int64_t k_lanes);

struct GemmArguments {
  GemmLane lane;
  int64_t m, n, k, k_block;  // k_block is even
  // op(A): stored [M, K], or [K, M] with `transpose_a`, row stride lda. Of bf16 pairs [M, K] needs an even K.
  const void* a;  // float | BFloat16
  int64_t lda;
  bool transpose_a;
  GemmPanels b;
  void* c;        // [m, n] row stride ldc
  DType c_dtype;  // f32 | bf16 | f16
  int64_t ldc;
  bool accumulate;
  const float* bias;  // [n] added to each row at last; or null. For an f32 C that is assigned, and K > 0
};
void gemm_packed(const GemmArguments& g);  // parallel on pool()

}  // namespace gradus::kernels::cpu
