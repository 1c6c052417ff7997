#include "gradus/kernels/convert.h"

#include <algorithm>

#include "gradus/kernels/cpu/convert.h"
#include "gradus/kernels/dispatch.h"

namespace gradus::kernels {

namespace {

template <class From, class To>
void convert_range(const From* x, int64_t n, To* y) {
  std::transform(x, x + n, y, [](From value) { return static_cast<To>(value); });
}
template <class From>
requires(sizeof(From) == 2) void convert_range(const From* x, int64_t n, float* y) {
  cpu::widen(x, n, y);
}
template <class To>
requires(sizeof(To) == 2) void convert_range(const float* x, int64_t n, To* y) {
  cpu::narrow(x, n, y);
}

}  // namespace

void convert(const Tensor& x, Tensor& y) {
  require_cpu("convert", x);
  require_cpu("convert", y);
  require(x.shape() == y.shape(), "convert: y is {} but x is {}", y.shape(), x.shape());
  if (x.dtype() == y.dtype()) return y.copy_from(x);
  const bool by_float = (x.dtype() == DType::f64 && size_of(y.dtype()) == 2) ||
                        (y.dtype() == DType::f64 && size_of(x.dtype()) == 2) ||
                        (size_of(x.dtype()) == 2 && size_of(y.dtype()) == 2);
  if (by_float) return convert(converted(x, DType::f32), y);
  const auto run = [&]<class From, class To>(From, To) {
    const From* x_p = x.data<From>();
    To* y_p = y.data<To>();
    for_elements(x.numel(), [&](int64_t begin, int64_t end) { convert_range(x_p + begin, end - begin, y_p + begin); });
  };
  if (x.dtype() == DType::f32) {
    if (y.dtype() == DType::f64) return run(float{}, double{});
    if (y.dtype() == DType::bf16) return run(float{}, BFloat16{});
    if (y.dtype() == DType::f16) return run(float{}, Float16{});
  } else if (y.dtype() == DType::f32) {
    if (x.dtype() == DType::f64) return run(double{}, float{});
    if (x.dtype() == DType::bf16) return run(BFloat16{}, float{});
    if (x.dtype() == DType::f16) return run(Float16{}, float{});
  }
  fail(ErrorCode::unsupported, "convert: from {} to {}; both must be floating-point formats", x.dtype(), y.dtype());
}

Tensor converted(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  Tensor y = Tensor::empty(x.shape(), dtype);
  convert(x, y);
  return y;
}

}  // namespace gradus::kernels
