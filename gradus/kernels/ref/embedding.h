// Copies and plain additions: there is nothing for an instruction set to round differently, so these loops, which the
// compiler vectorises, are the kernels of gradus/kernels/embedding.h and their own oracle.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

namespace gradus::kernels::ref {

template <class T>
void embedding(std::span<const int32_t> ids, const T* weight, int64_t cols, T* y) {
  for (size_t r = 0; r < ids.size(); ++r) std::copy_n(weight + ids[r] * cols, cols, y + static_cast<int64_t>(r) * cols);
}

// to += from, n elements.
template <class T>
void add_row(const T* from, int64_t n, T* to) {
  for (int64_t j = 0; j < n; ++j) to[j] += from[j];
}

}  // namespace gradus::kernels::ref
