// The scalar matrix products: the contract of gradus/kernels/gemm.h in code, and the oracle of the others.
#pragma once

#include <algorithm>
#include <cstdint>

#include "gradus/kernels/flush_denormals.h"
#include "gradus/kernels/ref/scalar.h"

namespace gradus::kernels::ref {

// c[m, n] (row stride N) from a(m, k) and b(k, n).
template <class T, class A, class B>
void gemm(int64_t M, int64_t N, int64_t K, int64_t k_block, A a, B b, T* c, bool accumulate) {
  const MultiplyAdd mul_add;
  for (int64_t m = 0; m < M; ++m) {
    for (int64_t n = 0; n < N; ++n) {
      T total = 0;
      for (int64_t k0 = 0; k0 < K; k0 += k_block) {
        T acc = 0;
        for (int64_t k = k0; k < std::min(K, k0 + k_block); ++k) acc = mul_add(a(m, k), b(k, n), acc);
        total = k0 == 0 ? acc : total + acc;
      }
      c[m * N + n] = accumulate ? c[m * N + n] + total : total;
    }
  }
}

// The same of bf16 numbers, which a(m, k) and b(k, n) give as floats: of each pair the odd k first.
template <class A, class B>
void gemm_bf16(int64_t M, int64_t N, int64_t K, int64_t k_block, A a, B b, float* c, bool accumulate) {
  const FlushDenormals flush;
  const int64_t K_even = (K + 1) / 2 * 2;  // a last element without a pair has 0 beside it
  const auto at = [K](auto x, int64_t i, int64_t k) { return k < K ? x(i, k) : 0.0f; };
  gemm(
      M, N, K_even, k_block, [&](int64_t m, int64_t k) { return at(a, m, k ^ 1); },
      [&](int64_t k, int64_t n) { return at([&](int64_t j, int64_t i) { return b(i, j); }, n, k ^ 1); }, c, accumulate);
}

}  // namespace gradus::kernels::ref
