#include "gradus/kernels/adamw.h"

#include "gradus/kernels/cpu/adamw.h"
#include "gradus/kernels/dispatch.h"

namespace gradus::kernels {

void adamw_update(Tensor& param, const Tensor& grad, Tensor& m, Tensor& v, const AdamWStep& step) {
  require_tensor("adamw_update", "grad", grad, param.shape(), param);
  require_tensor("adamw_update", "m", m, param.shape(), param);
  require_tensor("adamw_update", "v", v, param.shape(), param);
  require(step.bias_correction1 > 0 && step.bias_correction2 > 0,
          "adamw_update: bias corrections are {} and {} but must be positive; count steps from 1",
          step.bias_correction1, step.bias_correction2);
  for_float_type("adamw_update", param, [&]<class T>() {
    const auto kernel = choose(ref::adamw<T>, cpu::adamw);
    const ref::AdamW<T> all{.grad_scale = static_cast<T>(step.grad_scale),
                            .beta1 = static_cast<T>(step.beta1),
                            .one_minus_beta1 = static_cast<T>(1 - step.beta1),
                            .beta2 = static_cast<T>(step.beta2),
                            .one_minus_beta2 = static_cast<T>(1 - step.beta2),
                            .inv_correction2 = static_cast<T>(1 / step.bias_correction2),
                            .eps = static_cast<T>(step.eps),
                            .decay = static_cast<T>(step.learning_rate * step.weight_decay),
                            .step_size = static_cast<T>(step.learning_rate / step.bias_correction1),
                            .param = param.data<T>(),
                            .grad = grad.data<T>(),
                            .m = m.data<T>(),
                            .v = v.data<T>(),
                            .n = param.numel()};
    for_elements(all.n, [&](int64_t begin, int64_t end) {
      ref::AdamW<T> part = all;
      part.param += begin;
      part.grad += begin;
      part.m += begin;
      part.v += begin;
      part.n = end - begin;
      kernel(part);
    });
  });
}

}  // namespace gradus::kernels
