#include "gradus/posttrain/sft.h"

#include <cmath>
#include <limits>

#include "tests/posttrain/small_task.h"

namespace gradus::posttrain {
namespace {

SftConfig small_budget(int64_t tokens = 12'000) {
  return {.tokens = tokens, .sequences = 32, .learning_rate = 3e-3};
}

struct Result {
  std::vector<double> losses;
  std::vector<Tensor> weights;
};

Result train(const SftConfig& config, uint64_t seed = 7) {
  const FirstBit task;
  lm::Model model = tiny_model(task);
  Sft sft(model, task, config, seed);
  Result out;
  while (!sft.done()) out.losses.push_back(metric(sft.step(), "loss"));
  out.weights = weights_of(model);
  return out;
}

TEST(Sft, FirstLossIsTheMeanNegativeLogLikelihoodOfTheDemonstrations) {
  // A model without weights: uniform over the 5 tokens, and every demonstration has its own length.
  const Chain task({.min_operators = 1, .max_operators = 4});
  lm::Model model = tiny_model(task);
  for (nn::Parameter* p : model.transformer().parameters()) p->value.fill_zero();
  Sft sft(model, task, small_budget(), 7);
  const auto n_vocab = static_cast<double>(model.tokenizer().n_vocab());
  EXPECT_NEAR(metric(sft.step(), "loss"), std::log(n_vocab), 1e-5);
}

TEST(Sft, LossFalls) {
  const Result r = train(small_budget(40'000));
  EXPECT_GT(r.losses.front(), 1.0);
  EXPECT_LT(r.losses.back(), 0.1);
}

TEST(Sft, OneSeedGivesTheSameBits) {
  const Result a = train(small_budget(), 7), b = train(small_budget(), 7), c = train(small_budget(), 8);
  EXPECT_EQ(a.losses, b.losses);
  EXPECT_TRUE(same_bits(a.weights, b.weights));
  EXPECT_FALSE(same_bits(a.weights, c.weights));
}

TEST(Sft, ThreadCountChangesNoBit) {
  kernels::for_each_isa([] {
    set_pool_threads(1);
    const Result want = train(small_budget(4'000));
    for (const int threads : {2, 3}) {
      set_pool_threads(threads);
      const Result got = train(small_budget(4'000));
      EXPECT_EQ(got.losses, want.losses) << threads;
      EXPECT_TRUE(same_bits(got.weights, want.weights)) << threads;
    }
    set_pool_threads(available_cpus());
  });
}

TEST(Sft, ContinuesBitForBitFromItsState) {
  const FirstBit task;
  const SftConfig config = small_budget();
  const Result whole = train(config);
  lm::Model model = tiny_model(task);
  Result halves;
  Sft first(model, task, config, 7);
  for (int i = 0; i < 3; ++i) halves.losses.push_back(metric(first.step(), "loss"));
  Sft second(model, task, config, 7);
  second.state() = first.state();
  for (size_t i = 0; i < first.optimiser().first_moments().size(); ++i) {
    second.optimiser().first_moments()[i].copy_from(first.optimiser().first_moments()[i]);
    second.optimiser().second_moments()[i].copy_from(first.optimiser().second_moments()[i]);
  }
  second.optimiser().set_steps(first.optimiser().steps());
  while (!second.done()) halves.losses.push_back(metric(second.step(), "loss"));
  EXPECT_EQ(halves.losses, whole.losses);
  EXPECT_TRUE(same_bits(weights_of(model), whole.weights));
}

TEST(Sft, BudgetIsCountedInTokensAndTheRateFollowsIt) {
  const FirstBit task;
  lm::Model model = tiny_model(task);
  SftConfig config = small_budget(13 * 32 * 20);  // 10 bits, "#", the answer and the end: 13 tokens, so 20 steps
  config.warmup = 0.25;
  Sft sft(model, task, config, 7);
  std::vector<double> rates;
  double fraction = 0;
  while (!sft.done()) {
    EXPECT_DOUBLE_EQ(sft.fraction(), fraction);
    const Metrics m = sft.step();
    EXPECT_EQ(metric(m, "tokens"), 13 * 32);
    rates.push_back(metric(m, "learning_rate"));
    fraction += 1.0 / 20;
  }
  EXPECT_EQ(rates.size(), 20u);
  EXPECT_EQ(sft.fraction(), 1.0);
  EXPECT_EQ(sft.state().step, 20);
  EXPECT_EQ(sft.state().tokens, config.tokens);
  EXPECT_EQ(rates[5], config.learning_rate);  // a quarter of the budget
  for (size_t i = 1; i < rates.size(); ++i) EXPECT_EQ(rates[i] > rates[i - 1], i <= 5) << i;
  EXPECT_GT(rates.back(), 0.1 * config.learning_rate);
}

TEST(Sft, NoBudgetIsDoneAtOnce) {
  const FirstBit task;
  lm::Model model = tiny_model(task);
  EXPECT_TRUE(Sft(model, task, small_budget(0), 7).done());
}

TEST(Sft, NonFiniteWeightsAreDivergedWithTheStep) {
  const FirstBit task;
  lm::Model model = tiny_model(task);
  Sft sft(model, task, small_budget(), 7);
  sft.step();
  model.transformer().parameters()[1]->value.data<float>()[0] = std::numeric_limits<float>::quiet_NaN();
  try {
    sft.step();
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::diverged);
    EXPECT_NE(std::string(e.what()).find("at step 1"), std::string::npos) << e.what();
  }
}

TEST(Sft, BadSettingsAreErrors) {
  const FirstBit task;
  lm::Model model = tiny_model(task);
  const auto code = [&](SftConfig config) { return kernels::error_code_of([&] { Sft(model, task, config, 7); }); };
  EXPECT_EQ(code({.sequences = 0}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({.max_rows = 0}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({.learning_rate = std::nan("")}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({.warmup = 2}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({.widened_at = -1}), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace gradus::posttrain
