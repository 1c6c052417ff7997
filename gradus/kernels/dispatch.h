// What every row and elementwise operator does before its kernel runs: check tensors, pick the kernel for dtype and
// instruction set, cut the work. Internal to gradus/kernels. Nothing here allocates unless it fails.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

#include "gradus/core/tensor.h"
#include "gradus/core/thread_pool.h"
#include "gradus/kernels/isa.h"

namespace gradus::kernels {

// Elements per task. 64 KiB per f32 operand: stays in L2, and takes microseconds, well above the cost of handing it
// out. Smaller work is one task and runs in its caller.
inline constexpr int64_t kGrain = 16384;

// Throws unsupported unless x lives on the CPU.
inline void require_cpu(std::string_view op, const Tensor& x) {
  require(x.defined(), "{}: the first tensor is undefined; create it before", op);
  if (x.device() != Device{}) {
    fail(ErrorCode::unsupported, "{}: no kernel for {} in this build; move the tensor to the CPU", op,
         name(x.device()));
  }
}

// body.operator()<T>() for T of x's dtype. Throws unsupported where no kernel exists.
template <class Body>
void for_float_type(std::string_view op, const Tensor& x, Body&& body) {
  require_cpu(op, x);
  if (x.dtype() == DType::f32) return body.template operator()<float>();
  if (x.dtype() == DType::f64) return body.template operator()<double>();
  fail(ErrorCode::unsupported, "{}: no kernel for {}; convert to f32 or f64", op, x.dtype());
}

// The vector kernel where it has T's signature and the active instruction set is a vector one, else the reference.
template <class R, class V>
R* choose(R* reference, [[maybe_unused]] V* vector) {
  if constexpr (std::is_same_v<R, V>) {
    if (active_isa() != Isa::ref) return vector;
  }
  return reference;
}

// t has the given shape and dtype, and the device of x.
inline void require_tensor(std::string_view op, std::string_view t_name, const Tensor& t, const Shape& shape,
                           const Tensor& x, DType dtype) {
  if (t.defined() && t.shape() == shape && t.dtype() == dtype && t.device() == x.device()) [[likely]]
    return;
  require(t.defined(), "{}: {} is undefined; it must be {} {}", op, t_name, shape, dtype);
  require(t.shape() == shape, "{}: {} is {} but must be {} beside {}", op, t_name, t.shape(), shape, x.shape());
  require(t.dtype() == dtype, "{}: {} is {} but must be {}", op, t_name, t.dtype(), dtype);
  fail(ErrorCode::invalid_argument, "{}: {} is on {} but must be on {}", op, t_name, name(t.device()),
       name(x.device()));
}

// t has the dtype and device of x, and the given shape.
inline void require_tensor(std::string_view op, std::string_view t_name, const Tensor& t, const Shape& shape,
                           const Tensor& x) {
  require_tensor(op, t_name, t, shape, x, x.dtype());
}

inline void require_matrix(std::string_view op, std::string_view t_name, const Tensor& t) {
  if (!t.defined() || t.rank() != 2) [[unlikely]] {
    fail(ErrorCode::invalid_argument, "{}: {} is {} but must have 2 dimensions", op, t_name, t.shape());
  }
}

// Every index lies in [0, limit).
inline void require_indices(std::string_view op, std::string_view what, std::span<const int32_t> indices,
                            int64_t limit) {
  for (size_t i = 0; i < indices.size(); ++i) {
    require(indices[i] >= 0 && indices[i] < limit, "{}: {} {} of row {} is outside [0, {})", op, what, indices[i], i,
            limit);
  }
}

inline void require_rows(std::string_view op, std::string_view what, size_t n, int64_t rows) {
  require(static_cast<int64_t>(n) == rows, "{}: {} {} for {} rows; give one per row", op, n, what, rows);
}

// body(begin, end) for ranges that cover [0, n) elements, or rows of `cols` elements.
template <class Body>
void for_elements(int64_t n, Body&& body) {
  parallel_ranges(n, kGrain, body);
}
template <class Body>
void for_rows(int64_t rows, int64_t cols, Body&& body) {
  parallel_ranges(rows, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, cols)), body);
}

// out[j] += p_0[j], then p_1[j], ...: kernel(begin, end, p_c) overwrites p_c [cols] with a sum over rows [begin, end),
// and chunk c holds rows [c * chunk, (c + 1) * chunk).
template <class T, class Kernel>
void add_row_chunks(int64_t rows, int64_t cols, int64_t chunk, T* out, Kernel&& kernel) {
  const int64_t n_chunks = (rows + chunk - 1) / chunk;
  Tensor partials = Tensor::empty({n_chunks, cols}, dtype_of<T>::value);
  T* p = partials.data<T>();
  for_rows(n_chunks, chunk * cols, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) kernel(c * chunk, std::min(rows, (c + 1) * chunk), p + c * cols);
  });
  for (int64_t c = 0; c < n_chunks; ++c) {
    for (int64_t j = 0; j < cols; ++j) out[j] += p[c * cols + j];
  }
}

}  // namespace gradus::kernels
