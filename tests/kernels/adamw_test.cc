#include "gradus/kernels/adamw.h"

#include "gradus/kernels/ref/adamw.h"
#include "tests/kernels/grid.h"

namespace gradus::kernels {
namespace {

AdamWStep step_at(int t) {
  return {.learning_rate = 2e-3,
          .beta1 = 0.9,
          .beta2 = 0.95,
          .eps = 1e-8,
          .weight_decay = 0.1,
          .bias_correction1 = 1 - std::pow(0.9, t),
          .bias_correction2 = 1 - std::pow(0.95, t),
          .grad_scale = 0.25};
}

TEST(AdamW, VectorKernelEqualsTheReferenceBitForBit) {
  for_each_isa([] {
    for (const int64_t n : {0, 1, 2, 7, 31, 64, 257, 40001}) {
      Tensor param = random_tensor({n}, DType::f32, 1), m = Tensor::zeros({n}), v = Tensor::zeros({n});
      Tensor param_ref = param.clone(), m_ref = m.clone(), v_ref = v.clone();
      for (const int t : {1, 2, 3}) {
        const Tensor grad = random_tensor({n}, DType::f32, 10 + static_cast<uint64_t>(t));
        const AdamWStep s = step_at(t);
        adamw_update(param, grad, m, v, s);
        ref::adamw<float>({.grad_scale = static_cast<float>(s.grad_scale),
                           .beta1 = static_cast<float>(s.beta1),
                           .one_minus_beta1 = static_cast<float>(1 - s.beta1),
                           .beta2 = static_cast<float>(s.beta2),
                           .one_minus_beta2 = static_cast<float>(1 - s.beta2),
                           .inv_correction2 = static_cast<float>(1 / s.bias_correction2),
                           .eps = static_cast<float>(s.eps),
                           .decay = static_cast<float>(s.learning_rate * s.weight_decay),
                           .step_size = static_cast<float>(s.learning_rate / s.bias_correction1),
                           .param = param_ref.data<float>(),
                           .grad = grad.data<float>(),
                           .m = m_ref.data<float>(),
                           .v = v_ref.data<float>(),
                           .n = n});
      }
      EXPECT_TRUE(same_bits(param, param_ref));
      EXPECT_TRUE(same_bits(m, m_ref));
      EXPECT_TRUE(same_bits(v, v_ref));
    }
  });
}

TEST(AdamW, EqualsAlgorithm2InDouble) {
  double theta = 0.5, m_t = 0, v_t = 0;
  Tensor param = Tensor::zeros({1}, DType::f64), grad = param.clone(), m = param.clone(), v = param.clone();
  *param.data<double>() = theta;
  for (int t = 1; t <= 5; ++t) {
    const double raw = std::sin(t);
    *grad.data<double>() = raw;
    const AdamWStep s = step_at(t);
    adamw_update(param, grad, m, v, s);

    const double g = raw * s.grad_scale;
    m_t = s.beta1 * m_t + (1 - s.beta1) * g;
    v_t = s.beta2 * v_t + (1 - s.beta2) * g * g;
    const double m_hat = m_t / (1 - std::pow(s.beta1, t)), v_hat = v_t / (1 - std::pow(s.beta2, t));
    theta -= s.learning_rate * (m_hat / (std::sqrt(v_hat) + s.eps) + s.weight_decay * theta);
    EXPECT_NEAR(*param.data<double>(), theta, 1e-15);
  }
}

TEST(AdamW, TheFirstStepHasTheLengthOfTheLearningRate) {
  Tensor param = Tensor::zeros({3}), m = param.clone(), v = param.clone();
  const float grads[] = {1e-3f, -5, 700};
  adamw_update(param, Tensor::from<float>(grads, {3}), m, v,
               {.learning_rate = 0.01, .bias_correction1 = 0.1, .bias_correction2 = 1e-3});
  EXPECT_NEAR(param.data<float>()[0], -0.01, 1e-6);
  EXPECT_NEAR(param.data<float>()[1], 0.01, 1e-6);
  EXPECT_NEAR(param.data<float>()[2], -0.01, 1e-6);
}

TEST(AdamW, AZeroGradientLeavesOnlyTheDecay) {
  Tensor param = Tensor::zeros({2}), m = param.clone(), v = param.clone();
  param.data<float>()[0] = 4;
  adamw_update(param, Tensor::zeros({2}), m, v, {.learning_rate = 0.5, .weight_decay = 0.25});
  EXPECT_EQ(param.data<float>()[0], 3.5f);
  EXPECT_EQ(param.data<float>()[1], 0);
}

TEST(AdamW, WrongArgumentsAreInvalid) {
  Tensor param = Tensor::zeros({2}), m = param.clone(), v = param.clone();
  EXPECT_EQ(error_code_of([&] { adamw_update(param, Tensor::zeros({3}), m, v, {}); }), ErrorCode::invalid_argument);
  EXPECT_EQ(error_code_of([&] { adamw_update(param, Tensor::zeros({2}), m, v, {.bias_correction1 = 0}); }),
            ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace gradus::kernels
