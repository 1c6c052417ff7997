// Language models trained by several ranks, which are threads: the same bits as by one.
#include <cmath>
#include <thread>

#include "gradus/comm/thread_transport.h"
#include "gradus/posttrain/held_out_text.h"
#include "gradus/posttrain/k15.h"
#include "gradus/posttrain/rollout_bytes.h"
#include "gradus/posttrain/sft.h"
#include "tests/posttrain/small_task.h"

namespace gradus::posttrain {
namespace {

struct Outcome {
  std::vector<Metrics> metrics;
  std::vector<Tensor> weights;
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

Outcome sft_and_k15(run::Ranks* ranks) {
  const FirstBit task;
  lm::Model model = tiny_model(task);
  Outcome out;
  Sft sft(model, task, {.tokens = 400, .sequences = 12}, 7, nullptr, ranks);
  while (!sft.done()) out.metrics.push_back(sft.step());
  K15 k15(model, task,
          {.iterations = 2, .prompts = 6, .samples = 4, .minibatches = 2, .learning_rate = 1e-3, .max_tokens = 12}, 7,
          nullptr, ranks);
  while (!k15.done()) out.metrics.push_back(k15.iterate());
  out.weights = weights_of(model);
  return out;
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
  EXPECT_TRUE(same_bits(a.weights, b.weights)) << what;
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
