#include "gradus/rl/deep/gradient_descent.h"

#include <gtest/gtest.h>

#include "gradus/rl/deep/network.h"
#include "tests/core/expect_error.h"
#include "tests/rl/agent_case.h"

namespace gradus::rl {
namespace {

// A network with a loss: the sum of its outputs times `slope`.
struct Case {
  explicit Case(const char* precision)
      : config{.hidden = {8}, .precision = precision},
        network(mlp_of(config, 3, 2), precision_of(config), 1),
        descent(network.parameters(), config, {.seed = 1}, "actor_") {}

  run::TrainStepResult step(double slope) {
    const std::vector<double> slopes(10, slope);
    return descent.run(5, 1e-3, [&](const Rows&, const auto& backward) {
      network.record(kernels::random_tensor({5, 3}, DType::f32, 2));
      backward(network.loss(slopes));
    });
  }
  NamedTensors state() {
    NamedTensors state;
    network.add_state("network.", state);
    descent.add_state("adam.", state);
    return state;
  }

  NetworkConfig config;
  Network network;
  GradientDescent descent;
};

TEST(GradientDescent, HalvesTheScaleInsteadOfAStepThatOverflows) {
  Case c("fp16");
  EXPECT_FALSE(c.step(1e-2).skipped);
  NamedTensors before = c.state();
  for (auto& [name, tensor] : before) tensor = tensor.clone();
  EXPECT_EQ(c.descent.loss_scale(), 65536);
  const run::TrainStepResult result = c.step(2);  // 131072 is beyond f16
  EXPECT_TRUE(result.skipped);
  EXPECT_EQ(c.descent.loss_scale(), 32768);
  EXPECT_EQ(c.descent.steps(), 1);
  for (const auto& [name, tensor] : c.state()) {
    if (name.find("loss_scale") != name.npos) continue;
    EXPECT_TRUE(kernels::same_bits(tensor, find_in(before, name, tensor.shape(), tensor.dtype()))) << name;
  }
  TrainingStats stats;
  c.descent.add_metrics(result, stats);
  EXPECT_EQ(metric(stats, "actor_loss_scale"), 32768);
  EXPECT_EQ(metric(stats, "actor_skipped_steps"), 1);
  EXPECT_TRUE(std::isnan(metric(stats, "actor_grad_norm")));  // it was infinite
  EXPECT_FALSE(c.step(1e-2).skipped);
}

TEST(GradientDescent, GoesOnFromItsScale) {
  Case whole("fp16"), rest("fp16");
  whole.step(2);
  rest.network.restore("network.", whole.state());
  rest.descent.restore("adam.", whole.state());
  EXPECT_EQ(rest.descent.loss_scale(), 32768);
  for (const double slope : {1.5, 0.1}) {  // the first overflows again
    whole.step(slope);
    rest.step(slope);
  }
  EXPECT_TRUE(same_state(rest.state(), whole.state()));
  EXPECT_GRADUS_ERROR(Case("fp16").descent.restore("adam.", Case("fp32").state()), corrupt, "adam.loss_scale");
}

TEST(GradientDescent, DivergesWhereNoScaleHelps) {
  Case c("fp16");
  const auto overflow = [&] {
    for (int i = 0; i < 100; ++i) c.step(1e300);
  };
  EXPECT_GRADUS_ERROR(overflow(), diverged, "lower the learning rate");
  Case wide("fp32");
  EXPECT_GRADUS_ERROR(wide.step(1e300), diverged, "at step 0");
}

// Whatever the loss is multiplied by, Adam sees the gradient of the loss itself: of weights, and of the deviations of a
// Gaussian, which do not come from the backward pass.
TEST(GradientDescent, OfAPolicyInFp16FollowsTheGradientOfFp64) {
  std::vector<NamedTensors> states;
  for (const char* precision : {"fp64", "fp16"}) {
    DeepConfig c{.learner = {},
                 .network = {.hidden = {16}, .activation = "tanh", .clip_norm = 0, .precision = precision},
                 .replay = {},
                 .on_policy = {.n_steps = 50, .ent_coef = 0.01},
                 .normalize = {.rewards = true}};  // so that the first scale is not too large
    const auto agent = make_by_steps(
        "a2c", [] { return std::make_unique<env::TimeLimit>(std::make_unique<env::Pendulum>(), 20); }, c);
    TrainingStats stats;
    agent->train(0, 50, 1, stats);
    states.push_back(agent->state());
  }
  int compared = 0;
  for (const auto& [name, exact] : states[0]) {
    if (!name.starts_with("adam.m.")) continue;
    const Tensor& close = std::ranges::find(states[1], name, &NamedTensors::value_type::first)->second;
    double norm = 0, distance = 0;
    for (int64_t i = 0; i < exact.numel(); ++i) {
      const double g = exact.data<double>()[i], difference = g - static_cast<double>(close.data<float>()[i]);
      norm += g * g;
      distance += difference * difference;
    }
    EXPECT_LT(std::sqrt(distance), 0.02 * std::sqrt(norm)) << name;
    ++compared;
  }
  EXPECT_EQ(compared, 9);  // two layers of policy and critic, and the deviation
}

}  // namespace
}  // namespace gradus::rl
