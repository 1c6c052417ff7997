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

// Columns [begin, end) of every row.
struct Columns {
  int64_t begin;
  int64_t end;
  int64_t all;  // columns of the matrix
};

template <class T>
void embedding_backward(std::span<const int32_t> ids, const T* d_y, Columns columns, T* d_weight) {
  for (size_t r = 0; r < ids.size(); ++r) {
    const T* from = d_y + static_cast<int64_t>(r) * columns.all;
    T* to = d_weight + ids[r] * columns.all;
    for (int64_t j = columns.begin; j < columns.end; ++j) to[j] += from[j];
  }
}

}  // namespace gradus::kernels::ref
