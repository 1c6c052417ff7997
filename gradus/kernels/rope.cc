#include "gradus/kernels/rope.h"

#include <cmath>

#include "gradus/kernels/as_floats.h"
#include "gradus/kernels/cpu/rope.h"

namespace gradus::kernels {

namespace {

void rotate(std::string_view op, Tensor& x, std::span<const int32_t> positions, int64_t heads, const RopeTable& table,
            int sign) {
  require_matrix(op, "x", x);
  require_matrix(op, "table.cos", table.cos);
  require_tensor(op, "table.sin", table.sin, table.cos.shape(), table.cos);
  const int64_t rows = x.dim(0), half = table.cos.dim(1);
  require_tensor(op, "x", x, {rows, heads * 2 * half}, x);
  require_tensor(op, "table.cos", table.cos, table.cos.shape(), x, computed_in(x.dtype()));
  require_rows(op, "positions", positions.size(), rows);
  require_indices(op, "position", positions, table.cos.dim(0));
  for_computed_type(op, x, [&]<class T>() {
    const auto kernel = choose(ref::rope_row<T>, cpu::rope_row);
    const Reader<T> x_r(x, 0);
    const Writer<T> x_w(x, 0);  // in place: the row's scratch too
    const T *cos_p = table.cos.data<T>(), *sin_p = table.sin.data<T>();
    const int64_t cols = x.dim(1);
    for_rows(rows, cols, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const int64_t offset = positions[static_cast<size_t>(r)] * half;
        x_r(r * cols, cols);
        kernel({.x = x_w(r * cols, cols),
                .cos = cos_p + offset,
                .sin = sin_p + offset,
                .sign = static_cast<T>(sign),
                .heads = heads,
                .half = half});
        x_w.store(r * cols, cols);
      }
    });
  });
}

}  // namespace

RopeTable make_rope_table(int64_t max_positions, int64_t head_size, double theta, DType dtype) {
  require(head_size > 0 && head_size % 2 == 0, "rope table: head size is {} but must be even and positive", head_size);
  require(theta > 0 && std::isfinite(theta), "rope table: theta is {} but must be positive and finite", theta);
  require(max_positions >= 0, "rope table: max_positions is {} but must not be negative", max_positions);
  const int64_t half = head_size / 2;
  RopeTable table{Tensor::empty({max_positions, half}, dtype), Tensor::empty({max_positions, half}, dtype)};
  for_float_type("rope table", table.cos, [&]<class T>() {
    T *cos_p = table.cos.data<T>(), *sin_p = table.sin.data<T>();
    for (int64_t i = 0; i < half; ++i) {
      const double frequency = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_size));
      for (int64_t p = 0; p < max_positions; ++p) {
        const double angle_rad = static_cast<double>(p) * frequency;
        cos_p[p * half + i] = static_cast<T>(std::cos(angle_rad));
        sin_p[p * half + i] = static_cast<T>(std::sin(angle_rad));
      }
    }
  });
  return table;
}

void rope(Tensor& x, std::span<const int32_t> positions, int64_t heads, const RopeTable& table) {
  rotate("rope", x, positions, heads, table, 1);
}

void rope_backward(Tensor& d_x, std::span<const int32_t> positions, int64_t heads, const RopeTable& table) {
  rotate("rope_backward", d_x, positions, heads, table, -1);
}

}  // namespace gradus::kernels
