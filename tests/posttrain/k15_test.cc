#include "gradus/posttrain/k15.h"

#include <cmath>

#include "gradus/optim/schedule.h"
#include "gradus/posttrain/sft.h"
#include "gradus/run/train_step.h"
#include "tests/posttrain/small_task.h"

namespace gradus::posttrain {
namespace {

K15Config small_iterations() {
  return {.iterations = 2, .prompts = 6, .samples = 4, .minibatches = 3, .learning_rate = 1e-3, .max_tokens = 12};
}

struct Result {
  std::vector<double> mismatch, reward, delta;  // per iteration
  std::vector<Tensor> weights;
};

Result train(const K15Config& config, uint64_t seed = 7) {
  const FirstBit task;
  lm::Model model = tiny_model(task);
  K15 k15(model, task, config, seed);
  Result out;
  while (!k15.done()) {
    const Metrics m = k15.iterate();
    out.mismatch.push_back(metric(m, "mismatch_max"));
    out.reward.push_back(metric(m, "reward_mean"));
    out.delta.push_back(metric(m, "delta_mean"));
    EXPECT_GT(metric(m, "grad_norm"), 0.0);  // there is something to learn
  }
  out.weights = weights_of(model);
  return out;
}

// Equation 3 by hand: r = (1, 0, 0, 1), r_bar = 1/2, tau = 1/2.
TEST(K15Weight, IsTheHandComputedCase) {
  EXPECT_DOUBLE_EQ(k15_weight(1, 0.5, 0.5, 0.2), 0.4);    //  1/2 - 0.1
  EXPECT_DOUBLE_EQ(k15_weight(0, 0.5, 0.5, -0.4), -0.3);  // -1/2 + 0.2
  EXPECT_DOUBLE_EQ(k15_weight(0, 0.5, 0.5, 0.0), -0.5);
  EXPECT_DOUBLE_EQ(k15_weight(1, 0.5, 0.5, 1.0), 0.0);  // twice as far as the reward is worth: no pull
}

// The surrogate whose gradient equation 3 is: (1/k) sum_j (r_j - r_bar) log pi(y_j) - tau/2 Delta_j^2, mean over
// problems.
double surrogate(nn::Transformer& wide, const RolloutBatch& batch, size_t first_problem, size_t last_problem,
                 const K15Config& config) {
  double sum = 0;
  for (size_t p = first_problem; p < last_problem; ++p) {
    double r_bar = 0;
    for (const Rollout& y : batch.of(p)) r_bar += y.reward.value / static_cast<double>(batch.samples);
    for (const Rollout& y : batch.of(p)) {
      double recorded = 0;
      for (const float x : y.log_probs) recorded += x;
      const double now = log_likelihood(wide, y.tokens, y.prompt_tokens, config.temperature);
      const double delta = now - recorded;
      sum += (y.reward.value - r_bar) * now - config.tau / 2 * delta * delta;
    }
  }
  return sum / static_cast<double>((last_problem - first_problem) * static_cast<size_t>(batch.samples));
}

// For slopes in double, which the scalar path computes.
nn::TransformerConfig one_layer() {
  nn::TransformerConfig config = tiny_config();
  config.layers = 1;
  return config;
}

TEST(K15, FirstMinibatchAscendsTheSurrogate) {
  K15Config config = small_iterations();
  config.minibatches = 1;
  config.temperature = 0.9;
  const FirstBit task;
  lm::Model model = tiny_model(task, 1, one_layer()), before = tiny_model(task, 1, one_layer());
  K15 k15(model, task, config, 7);
  const Metrics m = k15.iterate();
  EXPECT_EQ(metric(m, "delta_mean"), 0.0);
  EXPECT_EQ(metric(m, "mismatch_max"), 0.0);
  EXPECT_GT(metric(m, "groups_mixed"), 0.3);
  const auto loss = [&](nn::Transformer& wide) { return -surrogate(wide, k15.rollouts(), 0, 6, config); };
  expect_slopes(before.transformer(), gradients_of(model), loss,
                1e-4);  // the gradients of the only update are still there
}

// By then theta has left pi_i, so that the pull towards pi_i is in the gradient; a large tau and a large first step
// show it.
TEST(K15, SecondMinibatchIsPulledTowardsThePolicyThatSampled) {
  K15Config config = small_iterations();
  config.minibatches = 2, config.tau = 5, config.learning_rate = 3e-3, config.inner_warmup = 0;
  const FirstBit task;
  lm::Model model = tiny_model(task, 1, one_layer()), replay = tiny_model(task, 1, one_layer());
  K15 k15(model, task, config, 7);
  k15.iterate();

  // The first update again, by hand: w_j = r_j - r_bar.
  const RolloutBatch& batch = k15.rollouts();
  std::vector<TrainSequence> sequences;
  for (size_t j = 0; j < 12; ++j) sequences.push_back(batch.rollouts[j].sequence());
  replay.transformer().allocate_gradients();
  optim::AdamW optimiser(replay.transformer().parameters(), {});
  PackedLikelihood likelihood(replay.transformer(), 1.0, config.max_rows);
  run::TrainStep(optimiser, {.clip_norm = 1}).run(0, config.learning_rate, [&](int64_t, const auto& backward) {
    likelihood.run(
        sequences,
        [&](size_t j, std::span<const float>) {
          double r_bar = 0;
          for (const Rollout& y : batch.of(j / 4)) r_bar += y.reward.value / 4;
          return (batch.rollouts[j].reward.value - r_bar) / 12;
        },
        backward);
  });
  const auto loss = [&](nn::Transformer& wide) { return -surrogate(wide, batch, 3, 6, config); };
  expect_slopes(replay.transformer(), gradients_of(model), loss, 1e-4);

  K15Config no_pull = config;  // the check above would notice its absence
  no_pull.tau = 1e-9;
  lm::Model other = tiny_model(task, 1, one_layer());
  K15(other, task, no_pull, 7).iterate();
  EXPECT_FALSE(same_bits(gradients_of(other), gradients_of(model)));
}

TEST(K15, SamplerAndTrainerAgreeToTheLastBitInEveryIteration) {
  kernels::for_each_isa([] {
    for (const int threads : {1, 2, 3}) {
      set_pool_threads(threads);
      for (const int64_t max_rows : {64, 4096}) {
        K15Config config = small_iterations();
        config.max_rows = max_rows;
        config.temperature = max_rows == 64 ? 1.0 : 1.3;
        for (const double mismatch : train(config).mismatch) EXPECT_EQ(mismatch, 0.0) << threads << " threads";
      }
    }
    set_pool_threads(available_cpus());
  });
}

// Enough rows and columns that the trainer's products run on oneDNN while the sampler's run on our kernel.
TEST(K15, SamplerAndTrainerAgreeWhereTheirKernelsDiffer) {
  const Chain task({.min_operators = 3, .max_operators = 8});
  lm::Model model = tiny_model(
      task, 3, {.layers = 2, .width = 96, .heads = 4, .kv_heads = 2, .max_positions = 256, .qkv_bias = true});
  K15 k15(model, task, {.iterations = 2, .prompts = 4, .samples = 8, .minibatches = 1, .max_tokens = 60}, 7);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(metric(k15.iterate(), "mismatch_max"), 0.0);
}

TEST(K15, OneWeightOneUlpAwayIsSeen) {
  const FirstBit task;
  lm::Model model = tiny_model(task);
  std::vector<Problem> problems;
  for (uint64_t i = 0; i < 32; ++i) {
    Rng rng(1, Purpose::test, i);
    problems.push_back(task.make(rng, 1));
  }
  const RolloutBatch batch = make_rollouts(model, task, problems, {.samples = 8, .sampler = {.max_tokens = 30}});
  for (const int64_t max_rows : {64, 4096}) EXPECT_EQ(mismatch_max(model, batch.rollouts, 1.0, max_rows), 0.0);
  EXPECT_GT(mismatch_max(model, batch.rollouts, 0.99, 4096), 0.0);
  nn::Parameter& gain = *model.transformer().parameters().end()[-2];
  ASSERT_EQ(gain.name, "model.norm.weight");
  float& w = gain.value.data<float>()[3];
  w = std::nextafter(w, 2.0f);
  gain.changed();
  EXPECT_GT(mismatch_max(model, batch.rollouts, 1.0, 4096), 0.0);
}

TEST(MismatchMax, ANaNWins) {
  const FirstBit task;
  lm::Model model = tiny_model(task);
  Rng rng(1, Purpose::test);
  RolloutBatch batch = make_rollouts(model, task, {task.make(rng, 1)}, {.samples = 4, .sampler = {.max_tokens = 8}});
  batch.rollouts[1].log_probs[0] = NAN;
  batch.rollouts[2].log_probs[0] = 5;
  EXPECT_TRUE(std::isnan(mismatch_max(model, batch.rollouts, 1.0, 64)));
}

TEST(K15, OneSeedGivesTheSameBits) {
  const Result a = train(small_iterations(), 7), b = train(small_iterations(), 7), c = train(small_iterations(), 8);
  EXPECT_EQ(a.reward, b.reward);
  EXPECT_EQ(a.delta, b.delta);
  EXPECT_TRUE(same_bits(a.weights, b.weights));
  EXPECT_FALSE(same_bits(a.weights, c.weights));
}

TEST(K15, ThreadCountChangesNoBit) {
  kernels::for_each_isa([] {
    set_pool_threads(1);
    const Result want = train(small_iterations());
    for (const int threads : {2, 3}) {
      set_pool_threads(threads);
      const Result got = train(small_iterations());
      EXPECT_EQ(got.delta, want.delta) << threads;
      EXPECT_TRUE(same_bits(got.weights, want.weights)) << threads;
    }
    set_pool_threads(available_cpus());
  });
}

TEST(K15, ContinuesBitForBitFromItsState) {
  K15Config config = small_iterations();
  config.iterations = 4;
  config.prioritised = true;
  const Result whole = train(config);
  const FirstBit task;
  lm::Model model = tiny_model(task);
  K15 first(model, task, config, 7);
  first.iterate();
  first.iterate();
  K15 second(model, task, config, 7);
  second.restore(first.state());
  while (!second.done()) second.iterate();
  EXPECT_TRUE(same_bits(weights_of(model), whole.weights));
}

TEST(K15, EqualRewardsLeaveTheWeightsAlone) {
  // No answer can be right: it may not even end.
  K15Config config = small_iterations();
  config.minibatches = 1;  // Delta is 0, so every weight is
  config.max_tokens = 1;
  const FirstBit task;
  lm::Model model = tiny_model(task);
  const std::vector<Tensor> before = weights_of(model);
  const Metrics m = K15(model, task, config, 7).iterate();
  EXPECT_EQ(metric(m, "reward_mean"), 0.0);
  EXPECT_EQ(metric(m, "grad_norm"), 0.0);
  EXPECT_TRUE(same_bits(weights_of(model), before));
}

TEST(K15, AnAnswerThatIsCutIsWrongWithoutAsking) {
  const FirstBit task;
  lm::Model model = tiny_model(task);
  Rng rng(1, Purpose::test);
  const RolloutBatch batch =
      make_rollouts(model, task, {task.make(rng, 1)}, {.samples = 64, .sampler = {.max_tokens = 4}});
  int cut = 0, correct = 0;
  for (const Rollout& r : batch.rollouts) {
    cut += !r.ended;
    correct += r.reward.correct;
    EXPECT_TRUE(r.ended || r.reward.value == 0.0);
    EXPECT_EQ(static_cast<int64_t>(r.tokens.size()), r.prompt_tokens + r.response_tokens());
  }
  EXPECT_GT(cut, 0);
  EXPECT_GT(correct, 0);
}

TEST(K15, StoppingWhileSamplingLeavesTheIterationUndone) {
  const FirstBit task;
  lm::Model model = tiny_model(task);
  const std::vector<Tensor> before = weights_of(model);
  K15 k15(model, task, small_iterations(), 7);
  EXPECT_EQ(kernels::error_code_of([&] { k15.iterate([] { return true; }); }), ErrorCode::interrupted);
  EXPECT_EQ(k15.state().iteration, 0);
  EXPECT_TRUE(same_bits(weights_of(model), before));
}

TEST(K15, BadSettingsAreErrors) {
  const FirstBit task;
  lm::Model model = tiny_model(task);
  const auto code = [&](K15Config config) { return kernels::error_code_of([&] { K15(model, task, config, 7); }); };
  EXPECT_EQ(code({.prompts = 0}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({.samples = 0}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({.prompts = 4, .minibatches = 5}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({.tau = 0}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({.tau = std::nan("")}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({.temperature = 0}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({.weighting = "ppo"}), ErrorCode::invalid_argument);
}

// Small, from nothing to reward: the loss of the warm-up falls, then k1.5 makes answers right that were not. Measured:
// held-out accuracy 0.34 after the warm-up, 0.54 after k1.5.
TEST(EndToEnd, AMiniatureChainLearnsToImitateThenToBeRight) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "minutes under a sanitizer; the tests above run the same code";
#endif
  const Chain task({.min_operators = 1, .max_operators = 2});
  lm::Model model = tiny_model(task, 1, {.layers = 2, .width = 64, .heads = 4, .max_positions = 64});
  Sft sft(model, task, {.tokens = 150'000, .sequences = 64, .learning_rate = 4e-3}, 7);
  std::vector<double> losses;
  while (!sft.done()) losses.push_back(metric(sft.step(), "loss"));
  EXPECT_GT(losses.front(), 2.0);
  EXPECT_LT(losses.back(), 0.5);

  const std::vector<Problem> problems =
      held_out_set(task, {.n = 64, .least_difficulty = 1, .greatest_difficulty = 2, .seed = 3});
  const auto accuracy = [&] {
    return evaluate(task, make_rollouts(model, task, problems, {.samples = 8, .sampler = {.max_tokens = 16}})).accuracy;
  };
  const double before = accuracy();
  K15 k15(model, task,
          {.iterations = 10,
           .prompts = 32,
           .samples = 8,
           .minibatches = 4,
           .learning_rate = 6e-4,
           .inner_warmup = 2,
           .max_tokens = 16},
          7);
  while (!k15.done()) EXPECT_EQ(metric(k15.iterate(), "mismatch_max"), 0.0);
  EXPECT_GT(accuracy(), before + 0.1);
}

}  // namespace
}  // namespace gradus::posttrain
