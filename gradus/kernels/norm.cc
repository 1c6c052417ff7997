#include "gradus/kernels/norm.h"

#include "gradus/kernels/as_floats.h"
#include "gradus/kernels/cpu/norm.h"

namespace gradus::kernels {

namespace {

void require_norm(std::string_view op, const Tensor& x, const Tensor& gain, const Tensor& inv_rms) {
  require_matrix(op, "x", x);
  require(x.dim(1) >= 1, "{}: x has no columns; the mean of none is undefined", op);
  require_tensor(op, "gain", gain, {x.dim(1)}, x, computed_in(x.dtype()));
  require_tensor(op, "inv_rms", inv_rms, {x.dim(0)}, x, computed_in(x.dtype()));
}

}  // namespace

void rms_norm(const Tensor& x, const Tensor& gain, double eps, Tensor& y, Tensor& inv_rms) {
  require_norm("rms_norm", x, gain, inv_rms);
  require_tensor("rms_norm", "y", y, x.shape(), x);
  require(eps > 0, "rms_norm: eps is {} but must be positive", eps);
  for_computed_type("rms_norm", x, [&]<class T>() {
    const auto kernel = choose(ref::rms_norm<T>, cpu::rms_norm);
    const int64_t cols = x.dim(1);
    const T* gain_p = gain.data<T>();
    T* inv_rms_p = inv_rms.data<T>();
    const Reader<T> x_r(x, 0);
    const Writer<T> y_w(y, 1);
    for_rows(x.dim(0), cols, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        kernel({.x = x_r(r * cols, cols),
                .gain = gain_p,
                .eps = static_cast<T>(eps),
                .cols = cols,
                .y = y_w(r * cols, cols),
                .inv_rms = inv_rms_p + r});
        y_w.store(r * cols, cols);
      }
    });
  });
}

void rms_norm_backward(const Tensor& x, const Tensor& gain, const Tensor& inv_rms, const Tensor& d_y, Tensor& d_x,
                       Tensor& d_gain) {
  constexpr std::string_view kOp = "rms_norm_backward";
  require_norm(kOp, x, gain, inv_rms);
  require_tensor(kOp, "d_y", d_y, x.shape(), x);
  require_tensor(kOp, "d_x", d_x, x.shape(), x);
  require_tensor(kOp, "d_gain", d_gain, gain.shape(), gain);
  for_computed_type(kOp, x, [&]<class T>() {
    const auto kernel = choose(ref::rms_norm_backward<T>, cpu::rms_norm_backward);
    const int64_t cols = x.dim(1);
    const T *gain_p = gain.data<T>(), *inv_rms_p = inv_rms.data<T>();
    const Reader<T> x_r(x, 0), d_y_r(d_y, 1);
    const Writer<T> d_x_w(d_x, 2);
    add_row_chunks(x.dim(0), cols, kNormRowChunk, d_gain.data<T>(), [&](int64_t begin, int64_t end, T* partial) {
      std::fill_n(partial, cols, T(0));
      for (int64_t r = begin; r < end; ++r) {
        kernel({.x = x_r(r * cols, cols),
                .gain = gain_p,
                .inv_rms = inv_rms_p[r],
                .d_y = d_y_r(r * cols, cols),
                .cols = cols,
                .d_x = d_x_w(r * cols, cols),
                .d_gain = partial});
        d_x_w.store(r * cols, cols);
      }
    });
  });
}

}  // namespace gradus::kernels
