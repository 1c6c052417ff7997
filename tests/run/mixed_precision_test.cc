// What goes wrong in 16 bits and what cures it: the failures of Micikevicius et al. 2018 (arXiv 1710.03740), each
// beside its remedy. That sums are f32 is GemmHalf.SumsAreF32.
#include <array>

#include "gradus/autograd/ops.h"
#include "gradus/kernels/adamw.h"
#include "gradus/kernels/elementwise.h"
#include "gradus/run/train_step.h"
#include "tests/kernels/grid.h"

namespace gradus::run {
namespace {

using autograd::Parameter;
using autograd::Tape;
using kernels::converted;
using kernels::random_tensor;
using kernels::same_bits;

Tensor ones(Shape shape, DType dtype) {
  Tensor t = Tensor::empty(shape, dtype);
  kernels::fill(t, 1);
  return t;
}

float first(const Tensor& t) {
  return converted(t, DType::f32).data<float>()[0];
}

// Section 3.1: a change of a weight below 2^-11 of it is lost in f16, and one below 2^-24 is no f16 number at all.
TEST(MixedPrecision, SmallUpdatesVanishInF16AndAreKeptByAMasterCopy) {
  constexpr double kRate = 1e-5;  // Adam's step, whatever the gradient
  constexpr int kSteps = 1000;
  EXPECT_EQ(to_float(to_f16(0x1p-26f)), 0.0f);
  float alone = 1;
  for (int i = 0; i < kSteps; ++i) alone = to_float(to_f16(alone - static_cast<float>(kRate)));
  EXPECT_EQ(alone, 1.0f);

  Parameter p{.name = "w", .value = ones({2, 2}, DType::f16), .grad = ones({2, 2}, DType::f32)};
  p.master = ones({2, 2}, DType::f32);
  optim::AdamW optimiser({&p}, {});
  for (int i = 0; i < kSteps; ++i) optimiser.step(kRate);
  EXPECT_NEAR(first(p.master), 1 - kSteps * kRate, 1e-4);
  EXPECT_EQ(first(p.value), to_float(to_f16(first(p.master))));
}

// Rounded to nearest, a bf16 weight of 1 ignores changes below 2^-9; rounded stochastically it makes them on the
// average.
TEST(MixedPrecision, SmallUpdatesVanishInBf16AndAreKeptByStochasticRounding) {
  constexpr double kRate = 0x1p-12;
  constexpr int kSteps = 1024;
  float nearest = 1;
  for (int i = 0; i < kSteps; ++i) nearest = to_float(to_bf16(nearest - static_cast<float>(kRate)));
  EXPECT_EQ(nearest, 1.0f);

  Parameter p{.name = "w", .value = ones({64, 64}, DType::bf16), .grad = ones({64, 64}, DType::bf16)};
  optim::AdamW optimiser({&p}, {.seed = 7});
  for (int i = 0; i < kSteps; ++i) optimiser.step(kRate);
  const Tensor value = converted(p.value, DType::f32);
  double mean = 0;
  for (const float x : value.span<float>()) mean += static_cast<double>(x) / 4096;
  EXPECT_NEAR(mean, 0.75, 0.01);  // 1 - 1024 / 4096; the standard deviation of the mean is below 0.001
}

TEST(MixedPrecision, StochasticRoundingIsKeyedByStepAndIndex) {
  const auto train = [](uint64_t seed) {
    Parameter p{.name = "w", .value = ones({50, 31}, DType::bf16), .grad = ones({50, 31}, DType::bf16)};
    optim::AdamW optimiser({&p}, {.seed = seed});
    for (int i = 0; i < 20; ++i) optimiser.step(1e-3);
    return p.value;
  };
  const Tensor want = train(1);
  kernels::for_1_2_3_threads([&] { EXPECT_TRUE(same_bits(train(1), want)); });
  kernels::for_each_isa([&] {
    if (!kernels::fused_multiply_add()) return;  // SSE4 rounds the update itself in another way
    EXPECT_TRUE(same_bits(train(1), want));
  });
  EXPECT_FALSE(same_bits(train(2), want));
}

TEST(MixedPrecision, RoundingStochasticallyChoosesTheNeighboursInProportion) {
  const float x = 1 + 0x1p-9f;  // a quarter of the way from 1 to the next bf16 number
  int up = 0;
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float y = to_float(kernels::round_stochastically(x, bits));
    ASSERT_TRUE(y == 1.0f || y == 1 + 0x1p-7f);
    up += y > 1;
  }
  EXPECT_EQ(up, 16384);
  EXPECT_EQ(to_float(kernels::round_stochastically(INFINITY, 65535)), INFINITY);
  EXPECT_TRUE(std::isnan(to_float(kernels::round_stochastically(NAN, 65535))));
}

// A head in f16 whose loss is `weight` times the log-likelihood of one token.
struct Head {
  Parameter weight{.name = "head", .value = random_tensor({5, 8}, DType::f16, 1), .grad = Tensor::zeros({5, 8})};
  optim::AdamW optimiser;
  Tape tape;
  std::array<int32_t, 1> rows{0}, ids{3};
  std::array<double, 1> weights{};

  explicit Head(double w) : optimiser({&weight}, {}), weights{w} {
    weight.master = converted(weight.value, DType::f32);
  }

  auto accumulate() {
    return [this](int64_t, const auto& backward) {
      tape.reset();
      const autograd::Var x = tape.constant(random_tensor({1, 8}, DType::f16, 2));
      backward(autograd::weighted_sum(autograd::token_log_probs(x, weight, rows, ids, 1.0), weights));
    };
  }
};

// Section 3.2: what f16 cannot hold as a gradient, it holds as that of a scaled loss.
TEST(MixedPrecision, SmallGradientsVanishWithoutLossScalingAndSurviveWithIt) {
  Head plain(0x1p-26), scaled(0x1p-26), large(1);
  TrainStep(plain.optimiser, {.clip_norm = 0}).run(0, 0, plain.accumulate());
  EXPECT_EQ(kernels::sum_of_squares(plain.weight.grad), 0.0);

  optim::LossScaler scaler(optim::LossScalerConfig::automatic());
  const TrainStepResult result = TrainStep(scaled.optimiser, {.clip_norm = 0}, &scaler).run(0, 0, scaled.accumulate());
  const TrainStepResult exact = TrainStep(large.optimiser, {.clip_norm = 0}).run(0, 0, large.accumulate());
  EXPECT_GT(result.grad_norm, 0);
  EXPECT_NEAR(result.grad_norm * 0x1p26, exact.grad_norm, 0.01 * exact.grad_norm);
}

TEST(MixedPrecision, AnOverflowSkipsExactlyOneStepAndHalvesTheScale) {
  Head head(1.5);  // 1.5 * 65536 is beyond f16, half of it is not
  optim::LossScaler scaler({.scale = 65536, .dynamic = true});
  TrainStep step(head.optimiser, {}, &scaler);
  const Tensor before = head.weight.master.clone();
  EXPECT_TRUE(step.run(0, 0.1, head.accumulate()).skipped);
  EXPECT_EQ(scaler.scale(), 32768.0);
  EXPECT_TRUE(same_bits(head.weight.master, before));
  EXPECT_EQ(head.optimiser.steps(), 0);

  EXPECT_FALSE(step.run(1, 0.1, head.accumulate()).skipped);
  EXPECT_EQ(scaler.scale(), 32768.0);
  EXPECT_EQ(scaler.state().skipped, 1);
  EXPECT_EQ(head.optimiser.steps(), 1);
  EXPECT_FALSE(same_bits(head.weight.master, before));
}

TEST(MixedPrecision, ALossThatIsNoNumberEndsInDivergedAtLast) {
  Head head(1);
  head.weight.value.data<Float16>()[0] = {0x7e00};  // NaN
  const auto code = [&](optim::LossScaler* scaler) {
    return kernels::error_code_of([&] {
      TrainStep step(head.optimiser, {}, scaler);
      for (int64_t i = 0; i <= optim::LossScaler::kMostSkipped; ++i) step.run(i, 0.1, head.accumulate());
    });
  };
  optim::LossScaler scaler(optim::LossScalerConfig::automatic());
  EXPECT_EQ(code(&scaler), ErrorCode::diverged);
  EXPECT_EQ(scaler.state().skipped, optim::LossScaler::kMostSkipped);
  EXPECT_EQ(code(nullptr), ErrorCode::diverged);
}

TEST(MixedPrecision, TheShareOfSmallGradientsCountsZerosAndSubnormals) {
  Parameter p{.name = "w", .value = Tensor::zeros({1, 4}), .grad = Tensor::zeros({1, 4})};
  p.grad.data<float>()[1] = 0x1p-20f;   // subnormal in f16
  p.grad.data<float>()[2] = -0x1p-14f;  // its least normal number
  p.grad.data<float>()[3] = 1;
  Parameter* const parameters[] = {&p};
  EXPECT_EQ(optim::small_gradient_share(parameters, DType::f16), 0.5);
}

}  // namespace
}  // namespace gradus::run
