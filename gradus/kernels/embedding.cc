#include "gradus/kernels/embedding.h"

#include "gradus/kernels/as_floats.h"
#include "gradus/kernels/ref/embedding.h"

namespace gradus::kernels {

namespace {

template <class T>
void copy_rows(std::span<const int32_t> ids, const Tensor& weight, Tensor& y) {
  const int64_t cols = weight.dim(1);
  const T* weight_p = weight.data<T>();
  T* y_p = y.data<T>();
  for_rows(static_cast<int64_t>(ids.size()), cols, [&](int64_t begin, int64_t end) {
    const auto part = ids.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    ref::embedding(part, weight_p, cols, y_p + begin * cols);
  });
}

}  // namespace

void embedding(std::span<const int32_t> ids, const Tensor& weight, Tensor& y) {
  require_matrix("embedding", "weight", weight);
  const auto rows = static_cast<int64_t>(ids.size());
  require_tensor("embedding", "y", y, {rows, weight.dim(1)}, weight);
  require_indices("embedding", "id", ids, weight.dim(0));
  if (weight.dtype() == DType::bf16) return copy_rows<BFloat16>(ids, weight, y);
  if (weight.dtype() == DType::f16) return copy_rows<Float16>(ids, weight, y);
  for_float_type("embedding", weight, [&]<class T>() { copy_rows<T>(ids, weight, y); });
}

void embedding_backward(std::span<const int32_t> ids, const Tensor& d_y, Tensor& d_weight) {
  constexpr std::string_view kOp = "embedding_backward";
  // Tasks own columns, so that equal ids of different rows never meet; 32 of them are two cache lines of f32.
  constexpr int64_t kColumns = 32;
  require_matrix(kOp, "d_weight", d_weight);
  const auto rows = static_cast<int64_t>(ids.size());
  const int64_t cols = d_weight.dim(1);
  require_tensor(kOp, "d_y", d_y, {rows, cols}, d_y);
  require_tensor(kOp, "d_weight", d_weight, d_weight.shape(), d_y, computed_in(d_y.dtype()));
  require_indices(kOp, "id", ids, d_weight.dim(0));
  for_computed_type(kOp, d_y, [&]<class T>() {
    const Reader<T> d_y_r(d_y, 0);
    T* d_weight_p = d_weight.data<T>();
    for_rows((cols + kColumns - 1) / kColumns, rows * kColumns, [&](int64_t begin, int64_t end) {
      const int64_t first = begin * kColumns, n = std::min(cols, end * kColumns) - first;
      for (int64_t r = 0; r < rows; ++r) {
        ref::add_row(d_y_r(r * cols + first, n), n, d_weight_p + ids[static_cast<size_t>(r)] * cols + first);
      }
    });
  });
}

}  // namespace gradus::kernels
