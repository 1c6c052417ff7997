#include "gradus/run/train_step.h"

#include <limits>

#include "gradus/autograd/ops.h"
#include "tests/kernels/grid.h"
#include "tests/run/solo.h"

namespace gradus::run {
namespace {

using autograd::Parameter;
using autograd::Tape;
using kernels::random_tensor;
using kernels::same_bits;

// A problem with one weight matrix: the loss of shard s is sum_ij c_ij(s) (x(s) W^T)_ij.
struct Problem {
  Parameter weight{"w", random_tensor({3, 5}, DType::f32, 1), Tensor::zeros({3, 5})};
  optim::AdamW optimiser{{&weight}, {.weight_decay = 0.1}};
  Tape tape;
  double scale = 1;  // of the loss

  auto accumulate() {
    return [this](int64_t shard, const auto& backward) {
      const auto stream = static_cast<uint64_t>(shard);
      std::vector<double> c(12);
      Rng rng(2, Purpose::test, stream);
      for (double& w : c) w = scale * rng.normal();
      const autograd::Var x = tape.constant(random_tensor({4, 5}, DType::f32, 10 + stream));
      backward(autograd::weighted_sum(autograd::linear(x, weight), c));
      tape.reset();
    };
  }
};

TEST(TrainStep, IsBackwardThenOneOptimiserStep) {
  Problem a, b;
  const TrainStepResult result = TrainStep(a.optimiser, {.clip_norm = 0}).run(0, 0.1, a.accumulate());
  double loss = 0;
  b.accumulate()(0, [&](autograd::Var l) {
    loss = l.value().data<float>()[0];
    b.tape.backward(l);
  });
  Parameter* const parameters[] = {&b.weight};
  EXPECT_EQ(result.loss, loss);
  EXPECT_EQ(result.grad_norm, optim::global_gradient_norm(parameters));
  b.optimiser.step(0.1);
  EXPECT_TRUE(same_bits(a.weight.value, b.weight.value));
}

TEST(TrainStep, GradientsOfTheStepBeforeAreGone) {
  Problem a, b;
  b.weight.grad.copy_from(random_tensor({3, 5}, DType::f32, 77));
  TrainStep(a.optimiser, {}).run(0, 0.1, a.accumulate());
  TrainStep(b.optimiser, {}).run(0, 0.1, b.accumulate());
  EXPECT_TRUE(same_bits(a.weight.value, b.weight.value));
}

TEST(TrainStep, ClipsTheNormAndReportsItUnclipped) {
  Problem a, b;
  b.scale = 64;  // both are clipped to the same gradient
  const TrainStepResult small = TrainStep(a.optimiser, {.clip_norm = 0.125}).run(0, 0.1, a.accumulate());
  const TrainStepResult large = TrainStep(b.optimiser, {.clip_norm = 0.125}).run(0, 0.1, b.accumulate());
  EXPECT_GT(small.grad_norm, 0.125);
  EXPECT_DOUBLE_EQ(large.grad_norm, 64 * small.grad_norm);
  EXPECT_TRUE(same_bits(a.optimiser.first_moments()[0], b.optimiser.first_moments()[0]));
}

TEST(TrainStep, APowerOfTwoAsLossScaleChangesNoBit) {
  Problem a, b;
  const TrainStepResult plain = TrainStep(a.optimiser, {.clip_norm = 0.5}).run(0, 0.1, a.accumulate());
  optim::LossScaler scaler(optim::LossScalerConfig::fixed(4096));
  const TrainStepResult scaled = TrainStep(b.optimiser, {.clip_norm = 0.5}, &scaler).run(0, 0.1, b.accumulate());
  EXPECT_EQ(scaled.loss, plain.loss);
  EXPECT_EQ(scaled.grad_norm, plain.grad_norm);
  EXPECT_TRUE(same_bits(a.weight.value, b.weight.value));
}

TEST(TrainStep, ShardsAreAddedInABalancedTree) {
  for (const int64_t shards : {1, 2, 4, 8}) {
    Problem a, b;
    Ranks ranks = solo({.shards = shards});
    const TrainStepResult result =
        TrainStep(a.optimiser, {.clip_norm = 0}, nullptr, &ranks).run(0, 0.1, a.accumulate());
    double loss = 0;
    optim::ShardTree tree(b.optimiser.parameters());
    for (int64_t s = 0; s < shards; ++s) {
      b.accumulate()(s, [&](autograd::Var l) {
        loss += l.value().data<float>()[0];
        b.tape.backward(l);
      });
      if (s + 1 < shards) tree.add();
    }
    tree.finish(0);
    EXPECT_TRUE(same_bits(a.weight.grad, b.weight.grad)) << shards;
    EXPECT_EQ(result.loss, loss);
  }
}

void expect_diverged(double factor) {
  Problem p;
  TrainStep step(p.optimiser, {});
  step.run(0, 0.1, p.accumulate());
  const Tensor weight = p.weight.value.clone(), m = p.optimiser.first_moments()[0].clone();
  const Tensor v = p.optimiser.second_moments()[0].clone();
  p.scale = factor;
  try {
    step.run(41, 0.1, p.accumulate());
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::diverged);
    EXPECT_NE(std::string(e.what()).find("at step 41"), std::string::npos) << e.what();
  }
  EXPECT_TRUE(same_bits(p.weight.value, weight));
  EXPECT_TRUE(same_bits(p.optimiser.first_moments()[0], m));
  EXPECT_TRUE(same_bits(p.optimiser.second_moments()[0], v));
  EXPECT_EQ(p.optimiser.steps(), 1);
}

TEST(TrainStep, ANonFiniteLossIsDivergedAndLeavesWeightsAndMomentsAlone) {
  expect_diverged(std::numeric_limits<double>::quiet_NaN());
  expect_diverged(std::numeric_limits<double>::infinity());
  expect_diverged(1e39);  // beyond the largest float
}

TEST(TrainStep, AFailedStepLeavesNothingForTheNext) {
  Problem a, b;
  Ranks ranks = solo({.shards = 4});
  TrainStep step(a.optimiser, {}, nullptr, &ranks);
  const auto accumulate = a.accumulate();
  const auto failing = [&](int64_t shard, const auto& backward) {
    accumulate(shard, backward);
    if (shard == 1) fail(ErrorCode::interrupted, "stopped");
  };
  EXPECT_THROW(step.run(0, 0.1, failing), Error);
  step.run(0, 0.1, accumulate);
  TrainStep(b.optimiser, {}, nullptr, &ranks).run(0, 0.1, b.accumulate());
  EXPECT_TRUE(same_bits(a.weight.value, b.weight.value));
}

}  // namespace
}  // namespace gradus::run
