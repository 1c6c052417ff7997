// Training adapters alone: through the same learners, checkpoints, ranks and sampler as whole models.
#include <thread>

#include "gradus/comm/thread_transport.h"
#include "gradus/core/file.h"
#include "gradus/kernels/elementwise.h"
#include "gradus/lm/adapter.h"
#include "gradus/posttrain/k15.h"
#include "gradus/posttrain/memory_plan.h"
#include "gradus/posttrain/run_model.h"
#include "gradus/posttrain/sft.h"
#include "gradus/posttrain/train.h"
#include "gradus/run/checkpoint.h"
#include "tests/core/expect_error.h"
#include "tests/core/temporary_folder.h"
#include "tests/posttrain/small_task.h"

namespace gradus::posttrain {
namespace {

using nn::Precision;

lm::Model adapted_model(Precision precision) {
  const FirstBit task;
  lm::Model model =
      lm::Model::create(tiny_config(), lm::character_tokenizer(task.alphabet(), task.end_of_text()), 1, precision);
  model.add_lora({.rank = 8, .alpha = 16}, "base");
  model.lora()->initialise(3);
  return model;
}

TEST(LoraTraining, AWarmUpLearnsAndLeavesTheBaseAsItIs) {
  for (const Precision precision : {Precision::fp32, Precision::bf16, Precision::fp16, Precision::bf16_pure}) {
    SCOPED_TRACE(std::string(nn::name(precision)));
    const FirstBit task;
    lm::Model model = adapted_model(precision);
    const std::vector<Tensor> before = weights_of(model);
    optim::LossScaler scaler(precision == Precision::fp16 ? optim::LossScalerConfig::automatic()
                                                          : optim::LossScalerConfig::none());
    Sft learner(model, task, {.tokens = 16'000, .sequences = 16, .learning_rate = 1e-2}, 1, &scaler);
    const double first = metric(learner.step(), "loss");
    double last = first;
    while (!learner.done()) last = metric(learner.step(), "loss");
    EXPECT_LT(last, 0.5 * first);
    EXPECT_TRUE(same_bits(weights_of(model), before));
    for (const nn::Parameter* p : model.transformer().parameters()) {
      EXPECT_FALSE(p->grad.defined() || p->master.defined()) << p->name;
    }
  }
}

TEST(LoraTraining, SamplerAndTrainerAgreeInEveryIteration) {
  for (const Precision precision : {Precision::fp32, Precision::bf16, Precision::fp16}) {
    const FirstBit task;
    lm::Model model = adapted_model(precision);
    K15 learner(model, task,
                {.iterations = 3, .prompts = 6, .samples = 4, .minibatches = 2, .learning_rate = 1e-2, .max_tokens = 6},
                3);
    while (!learner.done()) {
      const Metrics metrics = learner.iterate();
      EXPECT_EQ(metric(metrics, "mismatch_max"), 0.0) << nn::name(precision);
      EXPECT_GT(metric(metrics, "grad_norm"), 0.0);
    }
  }
}

TEST(LoraTraining, ThePlanCountsWhatIsThere) {
  for (const nn::PrecisionFormats& f : nn::kPrecisions) {
    lm::Model model = adapted_model(f.precision);
    model.allocate_gradients();
    optim::AdamW optimiser(model.learned(), {});
    size_t parameters = 0, gradients = 0, masters = 0, moments = 0;
    for (const std::vector<nn::Parameter*>& list : {model.transformer().parameters(), model.lora()->parameters()}) {
      for (const nn::Parameter* p : list) {
        parameters += p->value.bytes();
        gradients += p->grad.defined() ? p->grad.bytes() : 0;
        masters += p->master.defined() ? p->master.bytes() : 0;
      }
    }
    for (const Tensor& m : optimiser.first_moments()) moments += 2 * m.bytes();
    const MemoryPlan plan = plan_memory(model.config(), f.precision, {.lora = model.lora()->config()});
    EXPECT_EQ(plan.parameters, static_cast<int64_t>(parameters));
    EXPECT_EQ(plan.gradients, static_cast<int64_t>(gradients));
    EXPECT_EQ(plan.master, static_cast<int64_t>(masters));
    EXPECT_EQ(plan.moments, static_cast<int64_t>(moments));
  }
}

// Whole runs.
class LoraRuns : public ::testing::Test {
 protected:
  void SetUp() override {
    set_pool_threads(1);  // as the configuration has it: ranks, which are threads, change nothing
    TrainConfig base = config();
    base.model = "";
    base.lora = {};
    train(folder_ / "base", base, {});
    base_ = model_folder_of(folder_ / "base");
  }
  void TearDown() override { set_pool_threads(available_cpus()); }

  TrainConfig config() const {
    TrainConfig c;
    c.threads = 1;
    c.precision = "bf16";
    c.model = (folder_ / "base").string();
    c.architecture.shape = tiny_config();
    c.chain = {.min_operators = 3, .max_operators = 3};
    c.algorithm = "sft";
    c.sft.tokens = 2000;
    c.sft.sequences = 4;
    c.k15.max_tokens = 8;
    c.eval = {.problems = 4, .quick_problems = 4, .every = 1};
    c.parallel = {.shards = 4, .zero = 1, .bucket_mb = 0.001};
    c.lora = {.rank = 4, .alpha = 8, .targets = "q,v,down"};
    return c;
  }

  // body(group) on P ranks.
  template <class Body>
  static void on_ranks(int P, Body body) {
    const comm::ThreadWorld world(P);
    std::vector<std::thread> threads;
    for (int r = 0; r < P; ++r) {
      threads.emplace_back([&, r] {
        try {
          body(std::make_unique<comm::Group>(world.transport(r)));
        } catch (const Error& e) {
          EXPECT_EQ(e.code(), ErrorCode::interrupted) << e.what();
        }
      });
    }
    for (std::thread& t : threads) t.join();
  }
  NamedTensors adapters_of(const std::string& name) const {
    return run::load_checkpoint(model_folder_of(folder_ / name)).tensors.at(lm::kAdapterFile);
  }
  void expect_same_adapters(const std::string& a, const std::string& b) const {
    const NamedTensors left = adapters_of(a), right = adapters_of(b);
    ASSERT_EQ(left.size(), right.size());
    for (size_t i = 0; i < left.size(); ++i) {
      EXPECT_EQ(left[i].first, right[i].first);
      EXPECT_TRUE(kernels::same_bits(left[i].second, right[i].second)) << left[i].first;
    }
  }

  const gradus::testing::TemporaryFolder folder_;
  std::filesystem::path base_;
};

TEST_F(LoraRuns, ACheckpointHoldsTheAdaptersAloneAndIsAModel) {
  train(folder_ / "run", config(), {});
  const run::Checkpoint last = run::load_checkpoint(model_folder_of(folder_ / "run"));
  EXPECT_EQ(last.tensors.size(), 1u);  // none of the base
  EXPECT_EQ(last.tensors.at(lm::kAdapterFile).size(), 2u * 2 * 3);
  lm::Model model = load_model(folder_ / "run");
  ASSERT_NE(model.lora(), nullptr);
  EXPECT_EQ(model.lora_base(), std::filesystem::canonical(base_).string());
  EXPECT_EQ(model.transformer().precision().precision, Precision::bf16);
  double of_b = 0;
  for (size_t i = 1; i < model.lora()->parameters().size(); i += 2) {
    of_b += kernels::sum_of_squares(model.lora()->parameters()[i]->value);
  }
  EXPECT_GT(of_b, 0);  // they have learned
}

TEST_F(LoraRuns, StoppedTheyGoOnWithAnyNumberOfRanksToTheSameBits) {
  on_ranks(1, [&](auto group) { train(folder_ / "alone", config(), {}, {}, std::move(group)); });
  on_ranks(4, [&](auto group) {
    TrainObserver observer;
    const auto asked = std::make_shared<bool>(false);
    observer.on_step = [=](const Progress& p) { *asked = p.iteration >= 2; };
    observer.should_stop = [=] { return *asked; };
    train(folder_ / "parts", config(), {}, observer, std::move(group));
  });
  const run::Checkpoint part = run::load_checkpoint(model_folder_of(folder_ / "parts"));
  EXPECT_EQ(part.step, 2);
  EXPECT_EQ(part.tensors.at("trainer.safetensors").size(), 2 * part.tensors.at(lm::kAdapterFile).size());
  on_ranks(2, [&](auto group) { resume(folder_ / "parts", {}, {}, std::move(group)); });
  expect_same_adapters("parts", "alone");
}

TEST_F(LoraRuns, GoOnOnlyWithTheBaseTheyBeganWith) {
  train(folder_ / "run", config(), {});
  lm::Model other = lm::load(base_, Precision::fp32);
  other.transformer().parameters()[3]->value.data<float>()[7] += 0.5f;
  lm::save(other, base_);
  EXPECT_GRADUS_ERROR(resume(folder_ / "run", {}), invalid_argument, "is not the one that the run began with");
}

TEST_F(LoraRuns, AdaptersGoOnAsTheyAreOrAreRefused) {
  train(folder_ / "first", config(), {});
  TrainConfig c = config();
  c.model = (folder_ / "first").string();
  const lm::Model model = make_model(c, lm::character_tokenizer("01", "$"));
  EXPECT_EQ(model.lora_base(), std::filesystem::canonical(base_).string());
  const NamedTensors there = adapters_of("first");
  for (size_t i = 0; i < there.size(); ++i) {
    EXPECT_TRUE(kernels::same_bits(model.lora()->parameters()[i]->weights(), there[i].second));
  }
  c.lora.rank = 8;
  EXPECT_GRADUS_ERROR(make_model(c, lm::character_tokenizer("01", "$")), invalid_argument, "has adapters of rank 4");
  c.lora = {};
  EXPECT_GRADUS_ERROR(make_model(c, lm::character_tokenizer("01", "$")), invalid_argument, "merge them first");
}

TEST(LoraSection, SettingsThatMakeNoSenseAreRefused) {
  TrainConfig c;
  c.lora.rank = 4;
  EXPECT_GRADUS_ERROR(c.check(), invalid_argument, "adapts a trained model");
  c.model = "somewhere";
  EXPECT_NO_THROW(c.check());
  c.lora.targets = "q,x";
  EXPECT_GRADUS_ERROR(c.check(), invalid_argument, "lora.targets 'q,x': there is no x_proj");
  c.lora.targets = "q,v_proj";
  EXPECT_EQ(c.lora.config().targets, (std::vector<std::string>{"q_proj", "v_proj"}));
  c.lora.rank = -1;
  EXPECT_GRADUS_ERROR(c.check(), invalid_argument, "lora.rank is -1");
}

}  // namespace
}  // namespace gradus::posttrain
