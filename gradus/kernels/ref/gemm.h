// The scalar matrix product: the contract of gradus/kernels/gemm.h in code, and the oracle of the others.
#pragma once

#include <algorithm>
#include <cstdint>

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

}  // namespace gradus::kernels::ref
