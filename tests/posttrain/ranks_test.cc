// Language models trained by several ranks, which are threads: the same bits as by one.
#include <cmath>
#include <thread>

#include "gradus/comm/thread_transport.h"
#include "gradus/posttrain/held_out_text.h"
#include "gradus/posttrain/k15.h"
#include "gradus/posttrain/rollout_bytes.h"
#include "gradus/posttrain/sft.h"
#include "gradus/posttrain/train.h"
#include "gradus/run/checkpoint.h"
#include "gradus/run/whole_weights.h"
#include "tests/core/temporary_folder.h"
#include "tests/posttrain/small_task.h"

namespace gradus::posttrain {
namespace {

struct Outcome {
  std::vector<Metrics> metrics;
  std::vector<Tensor> values, weights;  // weights on the first rank, where masters may be cut
};

// body(ranks) on P ranks at once; what each returned.
template <class Body>
std::vector<Outcome> on_ranks(int P, const run::ParallelConfig& config, Body body) {
  const comm::ThreadWorld world(P);
  std::vector<Outcome> outcomes(static_cast<size_t>(P));
  std::vector<std::thread> threads;
  for (int r = 0; r < P; ++r) {
    threads.emplace_back([&, r] {
      run::Ranks ranks(std::make_unique<comm::Group>(world.transport(r)), config);
      outcomes[static_cast<size_t>(r)] = body(&ranks);
    });
  }
  for (std::thread& t : threads) t.join();
  return outcomes;
}

Outcome sft_and_k15_in(nn::Precision precision, run::Ranks* ranks) {
  const FirstBit task;
  lm::Model model = lm::Model::create(tiny_config(), lm::character_tokenizer(task.alphabet(), "$"), 1, precision);
  optim::LossScaler scaler(precision == nn::Precision::fp16 ? optim::LossScalerConfig::automatic()
                                                            : optim::LossScalerConfig::none());
  Outcome out;
  Sft sft(model, task, {.tokens = 400, .sequences = 12}, 7, &scaler, ranks);
  while (!sft.done()) out.metrics.push_back(sft.step());
  K15 k15(model, task,
          {.iterations = 2, .prompts = 6, .samples = 4, .minibatches = 2, .learning_rate = 1e-3, .max_tokens = 12}, 7,
          &scaler, ranks);
  while (!k15.done()) out.metrics.push_back(k15.iterate());
  out.values = weights_of(model);
  out.weights = run::whole_weights(model.transformer().parameters(), ranks);
  return out;
}

Outcome sft_and_k15(run::Ranks* ranks) {
  return sft_and_k15_in(nn::Precision::fp32, ranks);
}

void expect_equal(const Outcome& a, const Outcome& b, const std::string& what) {
  ASSERT_EQ(a.metrics.size(), b.metrics.size());
  for (size_t i = 0; i < a.metrics.size(); ++i) {
    for (size_t m = 0; m < a.metrics[i].size(); ++m) {
      const auto& [name, value] = a.metrics[i][m];
      const double other = b.metrics[i][m].second;
      EXPECT_TRUE(value == other || (std::isnan(value) && std::isnan(other)))
          << what << ", step " << i << ", " << name << ": " << value << " and " << other;
    }
  }
  EXPECT_TRUE(same_bits(a.values, b.values)) << what;
  for (size_t i = 0; i < a.weights.size(); ++i) {
    if (a.weights[i].defined()) {
      EXPECT_TRUE(kernels::same_bits(a.weights[i], b.weights[i])) << what << ", " << i;
    }
  }
}

TEST(Ranks, OneTwoAndFourTrainTheSameModelBitForBit) {
  const Outcome alone = on_ranks(1, {.shards = 4}, sft_and_k15).front();
  for (const int P : {2, 4}) {
    for (const int64_t zero : {0, 1, 2}) {
      const run::ParallelConfig config{.shards = 4, .zero = zero, .bucket_mb = 0.01};
      for (const Outcome& o : on_ranks(P, config, sft_and_k15)) {
        expect_equal(o, alone, fmt::format("{} ranks, zero {}", P, zero));
      }
    }
  }
}

TEST(Ranks, SoTheyDoInSixteenBits) {
  for (const nn::Precision precision : {nn::Precision::bf16, nn::Precision::fp16}) {
    const auto learn = [&](run::Ranks* ranks) { return sft_and_k15_in(precision, ranks); };
    const Outcome alone = on_ranks(1, {.shards = 4}, learn).front();
    for (const auto& [P, zero] : {std::pair{1, 1}, {2, 0}, {2, 2}, {4, 1}, {4, 2}}) {
      const run::ParallelConfig config{.shards = 4, .zero = zero, .bucket_mb = 0.01};
      const std::vector<Outcome> outcomes = on_ranks(P, config, learn);
      for (const Tensor& w : outcomes.front().weights) EXPECT_TRUE(w.defined());
      for (const Outcome& o : outcomes) {
        expect_equal(o, alone, fmt::format("{}, {} ranks, zero {}", nn::name(precision), P, zero));
      }
    }
  }
}

// Whole runs, with their checkpoints.
class RankRuns : public ::testing::Test {
 protected:
  void SetUp() override {
    set_pool_threads(1);
  }  // as the configuration has it: ranks, which are threads, change nothing
  void TearDown() override { set_pool_threads(available_cpus()); }

  static TrainConfig config(int64_t zero) {
    TrainConfig c;
    c.threads = 1;
    c.precision = "bf16";
    c.architecture.shape = tiny_config();
    c.chain = {.min_operators = 3, .max_operators = 3};
    c.sft.tokens = 3000;
    c.sft.sequences = 4;
    c.k15.iterations = 2;
    c.k15.prompts = 4;
    c.k15.samples = 2;
    c.k15.minibatches = 2;
    c.k15.max_tokens = 8;
    c.eval = {.problems = 4, .quick_problems = 4, .every = 1};
    c.parallel = {.shards = 4, .zero = zero, .bucket_mb = 0.01};
    return c;
  }

  // body(rank, group) on P ranks; how many were interrupted.
  template <class Body>
  static int interrupted(int P, Body body) {
    const comm::ThreadWorld world(P);
    std::atomic<int> count = 0;
    std::vector<std::thread> threads;
    for (int r = 0; r < P; ++r) {
      threads.emplace_back([&, r] {
        try {
          body(r, std::make_unique<comm::Group>(world.transport(r)));
        } catch (const Error& e) {
          EXPECT_EQ(e.code(), ErrorCode::interrupted) << e.what();
          ++count;
        }
      });
    }
    for (std::thread& t : threads) t.join();
    return count;
  }

  run::Checkpoint last_of(const std::string& name) const {
    return run::load_checkpoint(*run::latest_checkpoint(run::RunPaths{folder_ / name}.checkpoints()));
  }
  void expect_same_tensors(const run::Checkpoint& a, const run::Checkpoint& b) const {
    ASSERT_EQ(a.tensors.size(), b.tensors.size());
    for (const auto& [file, named] : a.tensors) {
      for (size_t i = 0; i < named.size(); ++i) {
        EXPECT_TRUE(kernels::same_bits(named[i].second, b.tensors.at(file)[i].second)) << file << ' ' << named[i].first;
      }
    }
  }

  const gradus::testing::TemporaryFolder folder_;
};

TEST_F(RankRuns, CheckpointsHoldWholeWeightsAndAnotherNumberOfRanksGoesOn) {
  EXPECT_EQ(interrupted(1, [&](int, auto group) { train(folder_ / "alone", config(0), {}, {}, std::move(group)); }), 0);
  const auto stop_after = [](int64_t steps, std::string_view phase) {
    const auto asked = std::make_shared<std::atomic<bool>>(false);
    TrainObserver observer;
    observer.on_step = [=](const Progress& p) { *asked = p.phase == phase && p.iteration >= steps; };
    observer.should_stop = [=] { return asked->load(); };
    return observer;
  };
  // Stopped in the warm-up and in reinforcement, gone on with by another number of ranks each time.
  EXPECT_EQ(
      interrupted(
          4, [&](int, auto group) { train(folder_ / "cut", config(1), {}, stop_after(3, "sft"), std::move(group)); }),
      4);
  const run::Checkpoint warm_up = last_of("cut");
  EXPECT_TRUE(warm_up.tensors.contains("trainer.safetensors"));
  for (const auto& [name, tensor] : warm_up.tensors.at("model.safetensors")) EXPECT_EQ(tensor.dtype(), DType::f32);
  EXPECT_EQ(
      interrupted(2, [&](int, auto group) { resume(folder_ / "cut", {}, stop_after(1, "k15"), std::move(group)); }), 2);
  EXPECT_EQ(interrupted(1, [&](int, auto group) { resume(folder_ / "cut", {}, {}, std::move(group)); }), 0);
  expect_same_tensors(last_of("cut"), last_of("alone"));
}

TEST(Ranks, TheSamplersLogProbabilitiesAreTheTrainersOnEveryRank) {
  for (const Outcome& o : on_ranks(3, {}, sft_and_k15)) {
    EXPECT_EQ(metric(o.metrics.back(), "mismatch_max"), 0.0);
    EXPECT_GT(metric(o.metrics.back(), "grad_norm"), 0.0);
  }
}

TEST(Ranks, OneThatIsToStopStopsAll) {
  const FirstBit task;
  std::atomic<int> interrupted = 0;
  on_ranks(2, {}, [&](run::Ranks* ranks) {
    lm::Model model = tiny_model(task);
    K15 k15(model, task, {.iterations = 1, .prompts = 4, .samples = 2, .minibatches = 2, .max_tokens = 8}, 7, nullptr,
            ranks);
    try {
      k15.iterate([&] { return ranks->rank() == 1; });
    } catch (const Error& e) {
      interrupted += e.code() == ErrorCode::interrupted;
    }
    return Outcome{};
  });
  EXPECT_EQ(interrupted, 2);
}

TEST(RolloutBytes, ComeBackAsTheyWere) {
  Rollout r{.problem = 3,
            .tokens = {1, 2, 3},
            .prompt_tokens = 1,
            .log_probs = {-0.1f, -INFINITY},
            .answer = "a\0b",
            .ended = true,
            .reward = {.value = 1.0 / 3, .correct = true, .components = {{"length", -0.0}}}};
  const std::vector<Rollout> there{r, {}, r};
  const std::string bytes = to_bytes(there);
  const std::vector<Rollout> back = parse_rollouts(bytes);
  EXPECT_EQ(to_bytes(back), bytes);
  EXPECT_EQ(back[2].tokens, r.tokens);
  EXPECT_EQ(back[2].log_probs, r.log_probs);
  EXPECT_EQ(back[2].reward.components, r.reward.components);
  for (size_t n = 0; n < bytes.size(); ++n) EXPECT_THROW(parse_rollouts(bytes.substr(0, n)), Error) << n;
  EXPECT_THROW(parse_rollouts(bytes + "x"), Error);
}

}  // namespace
}  // namespace gradus::posttrain
