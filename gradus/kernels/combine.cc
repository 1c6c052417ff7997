#include "gradus/kernels/combine.h"

#include <cstring>

#include "gradus/core/error.h"
#include "gradus/kernels/cpu/combine.h"
#include "gradus/kernels/dispatch.h"

namespace gradus::kernels {

std::string_view name(ReduceOp op) {
  constexpr std::string_view kNames[] = {"sum", "mean", "min", "max", "prod"};
  return kNames[static_cast<int>(op)];
}

ReduceOp parse_reduce_op(std::string_view text) {
  for (const ReduceOp op : {ReduceOp::sum, ReduceOp::mean, ReduceOp::min, ReduceOp::max, ReduceOp::prod}) {
    if (text == name(op)) return op;
  }
  fail(ErrorCode::invalid_argument, "reduce op '{}' is not known; there are sum, mean, min, max and prod", text);
}

void combine(ReduceOp op, DType dtype, std::span<const void* const> xs, void* y, int64_t count, int64_t n_mean) {
  require(!xs.empty(), "combine: no arrays; give at least one");
  require(n_mean >= 1, "combine: n_mean is {} but must be at least 1", n_mean);
  if (xs.size() == 1 && op != ReduceOp::mean) {
    if (count > 0 && xs[0] != y) std::memcpy(y, xs[0], static_cast<size_t>(count) * size_of(dtype));
    return;
  }
  choose(ref::combine, cpu::combine)({op, dtype, xs, y, count, n_mean});
}

void divide(DType dtype, void* y, int64_t count, int64_t n) {
  const void* x = y;
  combine(ReduceOp::mean, dtype, {&x, 1}, y, count, n);
}

bool order_matters(ReduceOp op, DType dtype) {
  return is_floating(dtype) && op != ReduceOp::min && op != ReduceOp::max;
}

}  // namespace gradus::kernels
