// Matrix products by oneDNN behind one header: versions 2.x and 3.x, cached primitives, one thread each, probed against
// the contract.
#pragma once

#include <cstdint>

namespace gradus::kernels::cpu {

// C [m, n] = A [m, k] op(B), all dense, f32, for the first rows: as many as fill whole chunks of one size, the size
// that was probed. They run on pool(). Returns how many rows it wrote; 0, with C untouched, where oneDNN does not keep
// the order of gradus/kernels/gemm.h on this machine (probed once per shape).
int64_t onednn_gemm(int64_t m, int64_t n, int64_t k, const float* a, const float* b, bool transpose_b, float* c);

// The probe's verdict for products of many rows; runs it if it has not run.
bool onednn_probe(int64_t n, int64_t k, bool transpose_b);

}  // namespace gradus::kernels::cpu
