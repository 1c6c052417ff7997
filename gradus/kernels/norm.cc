#include "gradus/kernels/norm.h"

#include "gradus/kernels/cpu/norm.h"
#include "gradus/kernels/dispatch.h"

namespace gradus::kernels {

namespace {

void require_norm(std::string_view op, const Tensor& x, const Tensor& gain, const Tensor& inv_rms) {
  require_matrix(op, "x", x);
  require(x.dim(1) >= 1, "{}: x has no columns; the mean of none is undefined", op);
  require_tensor(op, "gain", gain, {x.dim(1)}, x);
  require_tensor(op, "inv_rms", inv_rms, {x.dim(0)}, x);
}

}  // namespace

void rms_norm(const Tensor& x, const Tensor& gain, double eps, Tensor& y, Tensor& inv_rms) {
  require_norm("rms_norm", x, gain, inv_rms);
  require_tensor("rms_norm", "y", y, x.shape(), x);
  require(eps > 0, "rms_norm: eps is {} but must be positive", eps);
  for_float_type("rms_norm", x, [&]<class T>() {
    const auto kernel = choose(ref::rms_norm<T>, cpu::rms_norm);
    const int64_t cols = x.dim(1);
    const ref::RmsNorm<T> all{.x = x.data<T>(),
                              .gain = gain.data<T>(),
                              .eps = static_cast<T>(eps),
                              .rows = x.dim(0),
                              .cols = cols,
                              .y = y.data<T>(),
                              .inv_rms = inv_rms.data<T>()};
    for_rows(all.rows, cols, [&](int64_t begin, int64_t end) {
      ref::RmsNorm<T> part = all;
      part.x += begin * cols;
      part.y += begin * cols;
      part.inv_rms += begin;
      part.rows = end - begin;
      kernel(part);
    });
  });
}

void rms_norm_backward(const Tensor& x, const Tensor& gain, const Tensor& inv_rms, const Tensor& d_y, Tensor& d_x,
                       Tensor& d_gain) {
  constexpr std::string_view kOp = "rms_norm_backward";
  require_norm(kOp, x, gain, inv_rms);
  require_tensor(kOp, "d_y", d_y, x.shape(), x);
  require_tensor(kOp, "d_x", d_x, x.shape(), x);
  require_tensor(kOp, "d_gain", d_gain, gain.shape(), x);
  for_float_type(kOp, x, [&]<class T>() {
    const auto kernel = choose(ref::rms_norm_backward<T>, cpu::rms_norm_backward);
    const int64_t cols = x.dim(1);
    const ref::RmsNormBackward<T> all{.x = x.data<T>(),
                                      .gain = gain.data<T>(),
                                      .inv_rms = inv_rms.data<T>(),
                                      .d_y = d_y.data<T>(),
                                      .rows = x.dim(0),
                                      .cols = cols,
                                      .d_x = d_x.data<T>(),
                                      .d_gain = nullptr};
    add_row_chunks(all.rows, cols, kNormRowChunk, d_gain.data<T>(), [&](int64_t begin, int64_t end, T* partial) {
      ref::RmsNormBackward<T> part = all;
      part.x += begin * cols;
      part.d_y += begin * cols;
      part.d_x += begin * cols;
      part.inv_rms += begin;
      part.rows = end - begin;
      part.d_gain = partial;
      kernel(part);
    });
  });
}

}  // namespace gradus::kernels
