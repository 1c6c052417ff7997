// Matrix products whose summation order is a written contract, so that the product of one row has the same bits in a
// batch of one and of thousands, packed or plain, from oneDNN or from our own kernels, on any number of threads.
//
// The contract, for every output element c[m, n] over the inner index k = 0 .. K-1:
//   1. K is cut into blocks of gemm_k_block(K, transpose_a) from k = 0.
//   2. Inside a block: acc = 0, then acc = multiply_add(a[m, k], b[k, n], acc) for k ascending (isa.h: fused where the
//   machine can).
//   3. Block sums are added in order: t = block 0; t = t + block 1; ...
//   4. With `accumulate`, c = c + t; else c = t. An empty K gives t = 0.
// In f32 and f64, and in f16, whose numbers are widened to f32 first. In bf16 the products of a pair k = 2i, 2i + 1 go
// onto acc one after the other, that of the odd k first, with subnormal numbers taken as 0: the instruction VDPBF16PS;
// an odd K ends with a pair whose odd half is 0. Sums are f32 always; a 16-bit C is c as f32, rounded once.
// `ref::gemm` states it in six lines; it is what oneDNN's AVX-512 kernels compute (checked at start-up, per shape).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "gradus/core/tensor.h"

namespace gradus::kernels {

// 512 up to K = 1024 and for a transposed left operand, else 1024: oneDNN's own blocking on AVX-512.
int64_t gemm_k_block(int64_t k, bool transpose_a);

struct GemmOptions {
  bool transpose_a = false;  // A is stored [K, M]
  bool transpose_b = false;  // B is stored [N, K], like a Hugging Face weight
  bool accumulate = false;   // C += A B
};

// C [M, N] = op(A) [M, K] op(B) [K, N].  f64 | f32 | bf16 | f16, A and B of one dtype, C of that or, beside a 16-bit
// one, f32; on the CPU; C must not overlap A or B.
// Rows in parallel on pool(). Throws invalid_argument on a shape or dtype mismatch.
void gemm(const Tensor& a, const Tensor& b, Tensor& c, GemmOptions options = {});

// B in the layout of our kernel: for weights that are read many times between two updates (decoding).
struct PackedMatrix {
  Tensor panels = {};        // [n_panels, K, panel width] zero-padded; of bf16 [n_panels, K/2, panel width] pairs
  DType dtype = DType::f32;  // of B
  int64_t k = 0, n = 0;
  int64_t panel_width = 0;  // the ISA's; 0 = f64 or ref: `panels` is B itself
  bool transpose_b = false;
  int64_t lanes() const { return dtype == DType::bf16 ? (k + 1) / 2 : k; }  // of 32 bits, down a column
};
PackedMatrix pack_matrix(const Tensor& b, bool transpose_b);
void gemm(const Tensor& a, const PackedMatrix& b, Tensor& c);  // C = A B

// Y [M, N] = X [M, K] W [N, K]^T + bias [N]: the bits of gemm and add_bias, in one pass over Y where it is f32.
void linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor& y);
void linear(const Tensor& x, const PackedMatrix& weight, const Tensor& bias, Tensor& y);

// Several linear maps of one X, each with the bits of gemm or linear alone. Few rows of X go through all of them in one
// parallel region.
struct LinearMap {
  const Tensor& weight;          // [N, K]
  const Tensor* bias = nullptr;  // [N] or null
  Tensor& y;                     // [M, N]
};
void linear(const Tensor& x, std::span<const LinearMap> maps);

// Who computes. `automatic` picks the fastest by shape. `highway` is ours of packed panels. `streamed` is ours that
// reads B = W^T, W [N, K], where it lies, for few rows; where it is not for an operand, `highway` computes. `onednn`
// falls back to `highway` where the probe found other bits.
enum class GemmBackend { automatic, highway, onednn, streamed };
void set_gemm_backend(GemmBackend backend);
GemmBackend gemm_backend();
std::string_view name(GemmBackend backend);

// Whether oneDNN computed this shape within the contract when it was last asked (probed on first use). For tests and
// records.
bool onednn_keeps_contract(int64_t k, int64_t n, bool transpose_b);

}  // namespace gradus::kernels
