#include "gradus/kernels/embedding.h"

#include "gradus/kernels/dispatch.h"
#include "gradus/kernels/ref/embedding.h"

namespace gradus::kernels {

void embedding(std::span<const int32_t> ids, const Tensor& weight, Tensor& y) {
  require_matrix("embedding", "weight", weight);
  const auto rows = static_cast<int64_t>(ids.size());
  const int64_t cols = weight.dim(1);
  require_tensor("embedding", "y", y, {rows, cols}, weight);
  require_indices("embedding", "id", ids, weight.dim(0));
  for_float_type("embedding", weight, [&]<class T>() {
    const T* weight_p = weight.data<T>();
    T* y_p = y.data<T>();
    for_rows(rows, cols, [&](int64_t begin, int64_t end) {
      const auto part = ids.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
      ref::embedding(part, weight_p, cols, y_p + begin * cols);
    });
  });
}

void embedding_backward(std::span<const int32_t> ids, const Tensor& d_y, Tensor& d_weight) {
  constexpr std::string_view kOp = "embedding_backward";
  // Tasks own columns, so that equal ids of different rows never meet; 32 of them are two cache lines of f32.
  constexpr int64_t kColumns = 32;
  require_matrix(kOp, "d_weight", d_weight);
  const auto rows = static_cast<int64_t>(ids.size());
  const int64_t cols = d_weight.dim(1);
  require_tensor(kOp, "d_y", d_y, {rows, cols}, d_weight);
  require_indices(kOp, "id", ids, d_weight.dim(0));
  for_float_type(kOp, d_weight, [&]<class T>() {
    const T* d_y_p = d_y.data<T>();
    T* d_weight_p = d_weight.data<T>();
    for_rows((cols + kColumns - 1) / kColumns, rows * kColumns, [&](int64_t begin, int64_t end) {
      const ref::Columns columns{.begin = begin * kColumns, .end = std::min(cols, end * kColumns), .all = cols};
      ref::embedding_backward(ids, d_y_p, columns, d_weight_p);
    });
  });
}

}  // namespace gradus::kernels
