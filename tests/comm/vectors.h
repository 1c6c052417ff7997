// What ranks of a test bring, and what their sum is.
#pragma once

#include <vector>

#include "gradus/core/rng.h"
#include "gradus/kernels/combine.h"

namespace gradus::comm {

// Of this rank: numbers whose sum depends on the order of additions.
inline std::vector<float> vector_of(int rank, int64_t n) {
  Rng rng(7, Purpose::data, static_cast<uint64_t>(rank));
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = static_cast<float>(rng.uniform() * 2 - 1);
  return x;
}

// The canonical sum over P ranks.
inline std::vector<float> serial_sum(int P, int64_t n) {
  std::vector<std::vector<float>> xs;
  std::vector<const void*> pointers;
  for (int r = 0; r < P; ++r) xs.push_back(vector_of(r, n));
  for (const auto& x : xs) pointers.push_back(x.data());
  std::vector<float> y(static_cast<size_t>(n));
  kernels::combine(kernels::ReduceOp::sum, DType::f32, pointers, y.data(), n);
  return y;
}

}  // namespace gradus::comm
