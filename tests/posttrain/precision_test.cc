// Training in every precision: sampler and trainer agree, threads and micro-batches' order leave the bits, the plan of
// memory holds, a step makes nothing new.
#include "gradus/posttrain/k15.h"
#include "gradus/posttrain/memory_plan.h"
#include "gradus/posttrain/sft.h"
#include "tests/posttrain/small_task.h"

namespace gradus::posttrain {
namespace {

using nn::Precision;

lm::Model model_in(Precision precision) {
  return lm::Model::create(tiny_config(), lm::character_tokenizer(FirstBit().alphabet(), "$"), 1, precision);
}

template <class Body>
void for_each_precision(Body body) {
  for (const nn::PrecisionFormats& f : nn::kPrecisions) {
    SCOPED_TRACE(std::string(f.name));
    body(f.precision);
  }
}

constexpr K15Config kSmallK15{.iterations = 2, .prompts = 6, .samples = 4, .minibatches = 2, .max_tokens = 6};

TEST(EveryPrecision, SamplerAndTrainerAgreeToTheLastBitInEveryIteration) {
  for_each_precision([](Precision precision) {
    const FirstBit task;
    lm::Model model = model_in(precision);
    optim::LossScaler scaler(precision == Precision::fp16 ? optim::LossScalerConfig::automatic()
                                                          : optim::LossScalerConfig::none());
    K15 learner(model, task, kSmallK15, 3, &scaler);
    while (!learner.done()) EXPECT_EQ(metric(learner.iterate(), "mismatch_max"), 0.0);
  });
}

TEST(EveryPrecision, ThreadCountChangesNoBit) {
  for_each_precision([](Precision precision) {
    const FirstBit task;
    std::vector<Tensor> want;
    kernels::for_1_2_3_threads([&] {
      lm::Model model = model_in(precision);
      K15 learner(model, task, kSmallK15, 3);
      while (!learner.done()) learner.iterate();
      if (want.empty()) want = weights_of(model);
      EXPECT_TRUE(same_bits(weights_of(model), want));
    });
  });
}

TEST(EveryPrecision, AWarmUpLearns) {
  for_each_precision([](Precision precision) {
    if (precision == Precision::fp64) return;  // the slow one, whose gradients others are tested by
    const FirstBit task;
    lm::Model model = model_in(precision);
    optim::LossScaler scaler(precision == Precision::fp16 ? optim::LossScalerConfig::automatic()
                                                          : optim::LossScalerConfig::none());
    Sft learner(model, task, {.tokens = 16'000, .sequences = 16, .learning_rate = 3e-3}, 1, &scaler);
    const double first = metric(learner.step(), "loss");
    double last = first;
    while (!learner.done()) last = metric(learner.step(), "loss");
    EXPECT_LT(last, 0.5 * first);
  });
}

TEST(EveryPrecision, MetricsShowTheScalerOfFp16) {
  const FirstBit task;
  lm::Model model = model_in(Precision::fp16);
  optim::LossScaler scaler(optim::LossScalerConfig::automatic());
  Sft learner(model, task, {.tokens = 1000, .sequences = 4}, 1, &scaler);
  const Metrics metrics = learner.step();
  EXPECT_EQ(metric(metrics, "loss_scale"), scaler.scale());
  EXPECT_EQ(metric(metrics, "skipped_steps"), static_cast<double>(scaler.state().skipped));
  EXPECT_GT(metric(metrics, "small_gradients"), 0.0);  // the rows of characters that did not occur
  EXPECT_LT(metric(metrics, "small_gradients"), 1.0);
}

// What the plan says is what the tensors of a model and of a forward take.
TEST(MemoryPlan, CountsWhatIsThere) {
  for_each_precision([](Precision precision) {
    lm::Model model = model_in(precision);
    model.transformer().allocate_gradients();
    const optim::AdamW optimiser(model.transformer().parameters(), {});
    size_t parameters = 0, gradients = 0, masters = 0, moments = 0;
    for (const nn::Parameter* p : model.transformer().parameters()) {
      parameters += p->value.bytes();
      gradients += p->grad.bytes();
      masters += p->master.defined() ? p->master.bytes() : 0;
      moments += 2 * static_cast<size_t>(p->value.numel()) * size_of(kernels::computed_in(p->value.dtype()));
    }
    constexpr int64_t kRows = 100;
    const MemoryPlan plan = plan_memory(model.config(), precision, {.rows = kRows});
    EXPECT_EQ(plan.parameters, static_cast<int64_t>(parameters));
    EXPECT_EQ(plan.gradients, static_cast<int64_t>(gradients));
    EXPECT_EQ(plan.master, static_cast<int64_t>(masters));
    EXPECT_EQ(plan.moments, static_cast<int64_t>(moments));

    nn::TokenBatch batch;
    batch.append(kernels::random_ids(kRows, model.tokenizer().n_vocab(), 1));
    batch.number_pages();
    const std::vector<int32_t> rows = kernels::random_ids(kRows, kRows, 2);
    nn::Tape tape;
    autograd::token_log_probs(model.transformer().hidden(tape, batch), model.transformer().head(), rows, batch.ids,
                              1.0);
    // Beside the values, nodes keep the statistics of norms, attention and the head.
    const int64_t wide = static_cast<int64_t>(size_of(nn::formats(precision).vectors));
    const int64_t layers = model.config().layers, statistics = layers * (2 + model.config().heads) + 2;
    EXPECT_EQ(plan.activations, tape.value_bytes() + kRows * wide * statistics);
  });
}

TEST(MemoryPlan, SixteenBitsHalveActivationsAndPureTakesTwelveBytesAParameter) {
  const nn::TransformerConfig config{.layers = 8, .width = 512, .heads = 8, .n_vocab = 257, .max_positions = 512};
  const MemoryPlan fp32 = plan_memory(config, Precision::fp32, {}), bf16 = plan_memory(config, Precision::bf16, {});
  const MemoryPlan pure = plan_memory(config, Precision::bf16_pure, {});
  EXPECT_LT(static_cast<double>(bf16.activations), 0.51 * static_cast<double>(fp32.activations));
  const auto bytes_a_parameter = [&](const MemoryPlan& p) {
    return static_cast<double>(p.parameters + p.gradients + p.moments + p.master) /
           static_cast<double>(config.n_parameters());
  };
  EXPECT_NEAR(bytes_a_parameter(fp32), 16, 0.01);
  EXPECT_NEAR(bytes_a_parameter(bf16), 18, 0.01);
  EXPECT_NEAR(bytes_a_parameter(pure), 12, 0.01);
}

TEST(MemoryPlan, RanksShareMomentsAndMasterWeightsOut) {
  const nn::TransformerConfig config{.layers = 8, .width = 512, .heads = 8, .n_vocab = 257, .max_positions = 512};
  const MemoryPlan alone = plan_memory(config, Precision::bf16, {});
  const MemoryPlan four = plan_memory(config, Precision::bf16, {.shares = 4});
  EXPECT_EQ(four.shares, 4);
  EXPECT_NEAR(static_cast<double>(four.moments), 0.25 * static_cast<double>(alone.moments), 8);
  EXPECT_NEAR(static_cast<double>(four.master), 0.25 * static_cast<double>(alone.master), 4);
  EXPECT_EQ(alone.total() - four.total(), alone.moments + alone.master - four.moments - four.master);
}

}  // namespace
}  // namespace gradus::posttrain
