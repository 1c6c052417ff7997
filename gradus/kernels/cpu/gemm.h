// Our own f32 matrix product, one text for every instruction set, in the order of gradus/kernels/gemm.h.
#pragma once

#include <cstdint>

namespace gradus::kernels::cpu {

// Columns of a packed panel on the active instruction set.
int64_t gemm_panel_width();

// Floats that `n_cols` columns of K rows take when packed.
int64_t gemm_packed_size(int64_t k, int64_t n_cols);

// Packs op(B) [K, N] (row stride ldb of the stored matrix) into panels [ceil(N / width), K, width], zero-padded.
// Parallel.
void gemm_pack(const float* b, int64_t ldb, bool transpose_b, int64_t k, int64_t n, float* panels);

struct GemmArguments {
  int64_t m, n, k, k_block;
  const float* a;                    // op(A)(i, kk) = a[i * a_row_stride + kk * a_k_stride]
  int64_t a_row_stride, a_k_stride;  // one of the two is 1
  const float* panels;               // from gemm_pack
  float* c;                          // [m, n] row stride ldc
  int64_t ldc;
  bool accumulate;
};
void gemm_packed(const GemmArguments& g);  // parallel on pool()

}  // namespace gradus::kernels::cpu
