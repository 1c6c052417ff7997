#include "gradus/optim/adamw.h"

#include <cmath>

#include "tests/kernels/grid.h"

namespace gradus::optim {
namespace {

using autograd::Parameter;
using kernels::random_tensor;
using kernels::same_bits;

Parameter parameter(Shape shape, uint64_t stream, DType dtype = DType::f32) {
  return {"p", random_tensor(shape, dtype, stream), Tensor::zeros(shape, dtype), {}};
}

void set_gradient(Parameter& p, int64_t step) {
  p.grad.copy_from(random_tensor(p.value.shape(), p.value.dtype(), 1000 + static_cast<uint64_t>(step)));
}

// Loshchilov & Hutter 2019, Algorithm 2, one scalar, as in the paper.
struct PlainAdamW {
  double x, m = 0, v = 0;
  int t = 0;
  void step(double gradient, double rate, double weight_decay, const AdamWConfig& c) {
    ++t;
    m = c.beta1 * m + (1 - c.beta1) * gradient;
    v = c.beta2 * v + (1 - c.beta2) * gradient * gradient;
    const double m_hat = m / (1 - std::pow(c.beta1, t)), v_hat = v / (1 - std::pow(c.beta2, t));
    x -= rate * (m_hat / (std::sqrt(v_hat) + c.eps) + weight_decay * x);
  }
};

void expect_plain(DType dtype, double tolerance) {
  const AdamWConfig config{.beta1 = 0.85, .beta2 = 0.97, .eps = 1e-6, .weight_decay = 0.1};
  Parameter matrix = parameter({3, 5}, 1, dtype), gain = parameter({7}, 2, dtype);
  const auto value = [&](const Tensor& t, int64_t i) {
    return dtype == DType::f64 ? t.data<double>()[i] : static_cast<double>(t.data<float>()[i]);
  };
  std::vector<PlainAdamW> plain;
  for (int64_t i = 0; i < 15; ++i) plain.push_back({.x = value(matrix.value, i)});
  for (int64_t i = 0; i < 7; ++i) plain.push_back({.x = value(gain.value, i)});

  AdamW optimiser({&matrix, &gain}, config);
  for (int64_t step = 0; step < 30; ++step) {
    const double rate = 0.01 * static_cast<double>(step % 4), scale = step % 3 == 0 ? 0.25 : 1.0;
    set_gradient(matrix, step);
    set_gradient(gain, step + 100);
    for (int64_t i = 0; i < 15; ++i) {
      plain[static_cast<size_t>(i)].step(scale * value(matrix.grad, i), rate, config.weight_decay, config);
    }
    for (int64_t i = 0; i < 7; ++i)
      plain[static_cast<size_t>(15 + i)].step(scale * value(gain.grad, i), rate, 0, config);
    optimiser.step(rate, scale);
  }
  EXPECT_EQ(optimiser.steps(), 30);
  for (int64_t i = 0; i < 15; ++i) EXPECT_NEAR(value(matrix.value, i), plain[static_cast<size_t>(i)].x, tolerance);
  for (int64_t i = 0; i < 7; ++i) EXPECT_NEAR(value(gain.value, i), plain[static_cast<size_t>(15 + i)].x, tolerance);
}

TEST(AdamW, DoubleEqualsThePaper) {
  expect_plain(DType::f64, 1e-13);
}

TEST(AdamW, FloatAgreesWithThePaperOnEveryInstructionSet) {
  kernels::for_each_isa([] { expect_plain(DType::f32, 2e-6); });
}

TEST(AdamW, OnlyMatricesDecay) {
  Parameter matrix = parameter({2, 3}, 1), gain = parameter({3}, 2);
  const Tensor matrix_before = matrix.value.clone(), gain_before = gain.value.clone();
  AdamW({&matrix, &gain}, {.weight_decay = 0.5}).step(0.1);  // all gradients are 0
  EXPECT_TRUE(same_bits(gain.value, gain_before));
  for (int64_t i = 0; i < 6; ++i) {
    EXPECT_FLOAT_EQ(matrix.value.data<float>()[i], 0.95f * matrix_before.data<float>()[i]);
  }
}

TEST(AdamW, ResetIsANewOptimiser) {
  Parameter used = parameter({4, 4}, 1), fresh = parameter({4, 4}, 1);
  const Tensor start = used.value.clone();
  AdamW a({&used}, {});
  for (int64_t step = 0; step < 5; ++step) {
    set_gradient(used, step);
    a.step(0.1);
  }
  used.value.copy_from(start);
  a.reset(1);
  EXPECT_EQ(a.steps(), 0);
  AdamW b({&fresh}, {});
  for (int64_t step = 0; step < 3; ++step) {
    set_gradient(used, step);
    set_gradient(fresh, step);
    a.step(0.1);
    b.step(0.1);
  }
  EXPECT_TRUE(same_bits(used.value, fresh.value));
}

TEST(AdamW, SavedMomentsContinueBitForBit) {
  Parameter whole = parameter({4, 4}, 1), halves = parameter({4, 4}, 1);
  AdamW a({&whole}, {}), first({&halves}, {}), second({&halves}, {});
  for (int64_t step = 0; step < 6; ++step) {
    set_gradient(whole, step);
    a.step(0.1);
  }
  for (int64_t step = 0; step < 6; ++step) {
    set_gradient(halves, step);
    (step < 3 ? first : second).step(0.1);
    if (step == 2) {
      second.first_moments()[0].copy_from(first.first_moments()[0]);
      second.second_moments()[0].copy_from(first.second_moments()[0]);
      second.set_steps(first.steps());
    }
  }
  EXPECT_TRUE(same_bits(whole.value, halves.value));
}

TEST(AdamW, StepMakesPackedWeightsStale) {
  Parameter p = parameter({4, 4}, 1);
  p.packed = kernels::pack_matrix(p.value, true);
  AdamW({&p}, {}).step(0.1);
  EXPECT_FALSE(p.packed.panels.defined());
}

TEST(AdamW, MakesNoStorageInTheSteadyState) {
  Parameter p = parameter({64, 64}, 1);
  AdamW optimiser({&p}, {});
  optimiser.step(0.1);  // makes the moments
  const int64_t before = tensor_storages_created();
  optimiser.reset(1);
  optimiser.step(0.1);
  EXPECT_EQ(tensor_storages_created(), before);
}

}  // namespace
}  // namespace gradus::optim
