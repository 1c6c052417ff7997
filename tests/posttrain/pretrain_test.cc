#include "gradus/posttrain/pretrain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/core/expect_error.h"
#include "tests/core/temporary_folder.h"
#include "tests/posttrain/small_task.h"
#include "tests/posttrain/small_text.h"

namespace gradus::posttrain {
namespace {

using gradus::testing::TemporaryFolder;

PretrainConfig small_budget(int64_t tokens = 6'000) {
  return {.tokens = tokens, .context = 32, .sequences = 8, .learning_rate = 1e-2, .held_out_tokens = 600};
}

lm::Model byte_model(uint64_t seed = 1) {
  return lm::Model::create(tiny_config(), lm::byte_tokenizer(), seed);
}

struct Result {
  std::vector<double> losses;
  std::vector<Tensor> weights;
};

class OnText : public ::testing::Test {
 protected:
  Result train(const PretrainConfig& config, uint64_t seed = 7) const {
    lm::Model model = byte_model();
    Pretrain learner(model, text_, config, seed);
    Result out;
    while (!learner.done()) out.losses.push_back(metric(learner.step(), "loss"));
    out.weights = weights_of(model);
    return out;
  }

  const TemporaryFolder folder_;
  const Text text_{write_small_text(folder_.path())};
};

using PretrainLearner = OnText;
using HeldOutText = OnText;

TEST_F(PretrainLearner, FirstLossIsTheMeanOverAllBytesOfTheWindows) {
  lm::Model model = byte_model();
  for (nn::Parameter* p : model.transformer().parameters()) p->value.fill_zero();  // uniform over the tokens
  Pretrain learner(model, text_, small_budget(), 7);
  const Metrics metrics = learner.step();
  EXPECT_NEAR(metric(metrics, "loss"), std::log(257.0), 1e-5);
  EXPECT_EQ(metric(metrics, "tokens"), 8 * 32);
}

TEST_F(PretrainLearner, LossFallsOnTextThatItSawAndOnTextThatItDidNot) {
  lm::Model model = byte_model();
  const PretrainConfig config = small_budget(40'000);
  const double before = held_out_loss(model, text_, config.held_out()).bits_per_byte();
  Pretrain learner(model, text_, config, 7);
  double last = 0;
  while (!learner.done()) last = metric(learner.step(), "loss");
  EXPECT_LT(last, 1.0);
  EXPECT_GT(before, 8.0);
  EXPECT_LT(held_out_loss(model, text_, config.held_out()).bits_per_byte(), 1.4);
}

TEST_F(PretrainLearner, OneSeedGivesTheSameBits) {
  const Result a = train(small_budget(), 7), b = train(small_budget(), 7), c = train(small_budget(), 8);
  EXPECT_EQ(a.losses, b.losses);
  EXPECT_TRUE(same_bits(a.weights, b.weights));
  EXPECT_FALSE(same_bits(a.weights, c.weights));
}

TEST_F(PretrainLearner, ContinuesBitForBitFromItsState) {
  const PretrainConfig config = small_budget();
  const Result whole = train(config);
  lm::Model model = byte_model();
  Result halves;
  Pretrain first(model, text_, config, 7);
  for (int i = 0; i < 3; ++i) halves.losses.push_back(metric(first.step(), "loss"));
  Pretrain second(model, text_, config, 7);
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

TEST_F(PretrainLearner, BudgetIsCountedInTokensAndTheRateFollowsIt) {
  PretrainConfig config = small_budget(8 * 32 * 20);
  config.warmup = 0.25;
  lm::Model model = byte_model();
  Pretrain learner(model, text_, config, 7);
  std::vector<double> rates;
  while (!learner.done()) rates.push_back(metric(learner.step(), "learning_rate"));
  EXPECT_EQ(rates.size(), 20u);
  EXPECT_EQ(learner.state().tokens, config.tokens);
  EXPECT_EQ(rates[5], config.learning_rate);
  for (size_t i = 1; i < rates.size(); ++i) EXPECT_EQ(rates[i] > rates[i - 1], i <= 5) << i;
  EXPECT_GT(rates.back(), 0.1 * config.learning_rate);
}

TEST_F(PretrainLearner, NonFiniteWeightsAreDivergedWithTheStep) {
  lm::Model model = byte_model();
  Pretrain learner(model, text_, small_budget(), 7);
  learner.step();
  model.transformer().parameters()[1]->value.data<float>()[0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_GRADUS_ERROR(learner.step(), diverged, "at step 1");
}

TEST_F(PretrainLearner, WhatCannotBeLearnedIsRefused) {
  lm::Model model = byte_model();
  const auto with = [&](PretrainConfig config) { Pretrain(model, text_, config, 7); };
  EXPECT_GRADUS_ERROR(with({.tokens = 0}), invalid_argument, "tokens is 0");
  EXPECT_GRADUS_ERROR(with({.context = 1}), invalid_argument, "context is 1");
  EXPECT_GRADUS_ERROR(with({.sequences = 0}), invalid_argument, "sequences 0");
  EXPECT_GRADUS_ERROR(with({.learning_rate = std::nan("")}), invalid_argument, "learning_rate is nan");
  EXPECT_GRADUS_ERROR(with({.warmup = 2}), invalid_argument, "warmup is 2");
  EXPECT_GRADUS_ERROR(with({.every = 0}), invalid_argument, "every is 0");
  EXPECT_GRADUS_ERROR(with({.context = 129}), invalid_argument, "context 129 is longer than the model's 128 positions");

  lm::Model of_characters = tiny_model(FirstBit());
  EXPECT_GRADUS_ERROR(Pretrain(of_characters, text_, small_budget(), 7), invalid_argument,
                      "tokenizer of 5 tokens is not of bytes");
  write_file_atomically(folder_ / "short", numbered_lines(0, 16));
  EXPECT_GRADUS_ERROR(Pretrain(model, Text(folder_ / "short"), {.context = 128}, 7), invalid_argument,
                      "short: no text for training is as long as a window of 128 bytes");
}

TEST_F(HeldOutText, LossOfAModelWithoutWeightsIsThatOfAUniformGuess) {
  lm::Model model = byte_model();
  for (nn::Parameter* p : model.transformer().parameters()) p->value.fill_zero();
  const HeldOutLoss loss = held_out_loss(model, text_, {.context = 32, .tokens = 1'000'000});
  // All of it but the first symbol of each text.
  const auto n_symbols = static_cast<int64_t>(text_.held_out().symbols.size());
  EXPECT_EQ(loss.tokens, n_symbols - static_cast<int64_t>(text_.held_out().ends.size()));
  EXPECT_LE(loss.bytes, loss.tokens);
  EXPECT_GE(loss.bytes, loss.tokens - 6);
  EXPECT_NEAR(loss.per_token(), std::log(257.0), 1e-5);
  EXPECT_NEAR(loss.bits_per_byte(), std::log2(257.0), 0.1);
}

TEST_F(HeldOutText, LossDoesNotDependOnTheMicroBatchAndFewerTokensTakeAPartOfThem) {
  lm::Model model = byte_model();
  const HeldOutLoss all = held_out_loss(model, text_, {.context = 32, .tokens = 500, .max_rows = 2048});
  const HeldOutLoss small = held_out_loss(model, text_, {.context = 32, .tokens = 500, .max_rows = 40});
  EXPECT_EQ(all.nats, small.nats);
  const HeldOutLoss part = held_out_loss(model, text_, {.context = 32, .tokens = 250, .max_rows = 40});
  EXPECT_LT(part.nats, all.nats);
  EXPECT_NEAR(static_cast<double>(part.tokens), 250, 32);
}

TEST_F(HeldOutText, LossCanBeInterrupted) {
  lm::Model model = byte_model();
  EXPECT_GRADUS_ERROR(held_out_loss(model, text_, {.context = 32}, [] { return true; }), interrupted, "held-out loss");
}

TEST_F(HeldOutText, ContinuationDependsOnTheSeedAloneAndSamplerAndTrainerAgree) {
  lm::Model model = byte_model();
  const Continuation a = continue_held_out_text(model, text_, 32, 1), b = continue_held_out_text(model, text_, 32, 1);
  EXPECT_FALSE(a.prompt.empty());
  EXPECT_FALSE(a.text.empty());
  EXPECT_EQ(a.text, b.text);
  EXPECT_NE(a.text, continue_held_out_text(model, text_, 32, 2).text);
  EXPECT_EQ(a.mismatch, 0);
}

}  // namespace
}  // namespace gradus::posttrain
