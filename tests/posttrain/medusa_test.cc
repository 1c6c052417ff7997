#include "gradus/posttrain/medusa.h"

#include <gtest/gtest.h>

#include <cmath>

#include "gradus/lm/medusa/drafter.h"
#include "gradus/lm/sampler.h"
#include "gradus/posttrain/k15.h"
#include "gradus/posttrain/memory_plan.h"
#include "gradus/posttrain/pretrain.h"
#include "tests/core/expect_error.h"
#include "tests/core/temporary_folder.h"
#include "tests/posttrain/small_task.h"
#include "tests/posttrain/small_text.h"

namespace gradus::posttrain {
namespace {

using gradus::testing::TemporaryFolder;

class OnText : public ::testing::Test {
 protected:
  // A model that has learned the text.
  lm::Model trained_model(nn::Precision precision = nn::Precision::fp32) const {
    lm::Model model = lm::Model::create(tiny_config(), lm::byte_tokenizer(), 1, precision);
    Pretrain learner(model, text_,
                     {.tokens = 40'000, .context = 32, .sequences = 8, .learning_rate = 1e-2, .held_out_tokens = 600},
                     7);
    while (!learner.done()) learner.step();
    return model;
  }
  static MedusaTrainConfig small_budget(bool joint = false) {
    return {.heads = 3, .joint = joint, .tokens = 30'000, .context = 32, .sequences = 8, .learning_rate = 1e-2};
  }

  const TemporaryFolder folder_;
  const Text text_{write_small_text(folder_.path())};
};
using MedusaHeadsOnText = OnText;

std::vector<Tensor> values_of(const std::vector<nn::Parameter*>& parameters) {
  std::vector<Tensor> values;
  for (const nn::Parameter* p : parameters) values.push_back(p->value.clone());
  return values;
}

TEST_F(MedusaHeadsOnText, BeginAsTheModelsOwnHead) {
  lm::Model model = trained_model();
  for (const bool own : {false, true}) {
    lm::MedusaHeads heads(model.transformer(), {.heads = 2, .own_outputs = own});
    const Tensor x = kernels::random_tensor({3, model.config().width}, DType::f32, 1, 1.0);
    nn::Tape tape(nn::Tape::Mode::inference);
    for (int64_t k = 0; k < 2; ++k) {
      EXPECT_TRUE(kernels::same_bits(heads.hidden(tape.constant(x), {}, k).value(), x));
      EXPECT_TRUE(kernels::same_bits(heads.output(k).value, model.transformer().head().value));
    }
  }
}

TEST_F(MedusaHeadsOnText, LearnWhatComesLaterAndLeaveTheModelAsItIs) {
  lm::Model model = trained_model();
  const std::vector<Tensor> before = values_of(model.transformer().parameters());
  lm::MedusaHeads heads(model.transformer(), {.heads = 3});
  const MedusaTrainConfig config = small_budget();
  const HeadsQuality untrained = heads_quality(model, heads, text_, config.held_out());
  {
    MedusaLearner learner(model, heads, text_, config, 7);
    double first = 0, last = 0;
    while (!learner.done()) {
      const Metrics m = learner.step();
      last = metric(m, "loss");
      if (first == 0) first = last;
      double sum = 0;
      for (int k = 1; k <= 3; ++k) sum += std::pow(0.8, k) * metric(m, fmt::format("head_{}_loss", k));
      EXPECT_NEAR(sum, last, 1e-4 * last);
    }
    EXPECT_LT(last, 0.7 * first);
  }
  EXPECT_TRUE(same_bits(values_of(model.transformer().parameters()), before));
  const HeadsQuality trained = heads_quality(model, heads, text_, config.held_out());
  for (size_t k = 0; k < 3; ++k) {
    EXPECT_GT(trained.top(k, 1), untrained.top(k, 1) + 0.1) << k;
    EXPECT_GT(trained.top(k, 5), trained.top(k, 1));
    EXPECT_LE(trained.top(k, 10), 1.0 + 1e-9);
  }
  EXPECT_GT(trained.chain_tokens(), 1.4);
}

TEST_F(MedusaHeadsOnText, GuessBetterWhenTheySeeTheDrawnToken) {
  lm::Model model = trained_model();
  const MedusaTrainConfig config = small_budget();
  std::vector<double> first_guess;
  for (const bool reads_token : {false, true}) {
    lm::MedusaHeads heads(model.transformer(), {.heads = 3, .reads_token = reads_token});
    MedusaLearner learner(model, heads, text_, config, 7);
    while (!learner.done()) learner.step();
    first_guess.push_back(heads_quality(model, heads, text_, config.held_out()).top(0, 1));
  }
  EXPECT_GT(first_guess[1], first_guess[0] + 0.05);
}

TEST_F(MedusaHeadsOnText, JointTrainingMovesBothAndTheModelMoreSlowly) {
  lm::Model model = trained_model();
  lm::MedusaHeads heads(model.transformer(), {.heads = 3});
  const double before = held_out_loss(model, text_, {.context = 32, .tokens = 600}).bits_per_byte();
  const std::vector<Tensor> weights = values_of(model.transformer().parameters());
  {
    MedusaLearner learner(model, heads, text_, small_budget(true), 7);
    EXPECT_GT(metric(learner.step(), "trunk_loss"), 0.1);
    while (!learner.done()) learner.step();
  }
  EXPECT_FALSE(same_bits(values_of(model.transformer().parameters()), weights));
  EXPECT_LT(held_out_loss(model, text_, {.context = 32, .tokens = 600}).bits_per_byte(), before + 0.02);
  for (const nn::Parameter* p : model.transformer().parameters()) EXPECT_EQ(p->rate, 1.0);
}

TEST_F(MedusaHeadsOnText, LearnJointlyInEveryPrecision) {
  for (const nn::Precision precision :
       {nn::Precision::fp32, nn::Precision::bf16, nn::Precision::fp16, nn::Precision::bf16_pure}) {
    lm::Model model = trained_model(precision);
    lm::MedusaHeads heads(model.transformer(), {.heads = 3, .layers = 2});
    optim::LossScaler scaler(precision == nn::Precision::fp16 ? optim::LossScalerConfig::automatic()
                                                              : optim::LossScalerConfig::none());
    const MedusaTrainConfig config = small_budget(true);
    const double before = heads_quality(model, heads, text_, config.held_out()).chain_tokens();
    MedusaLearner learner(model, heads, text_, config, 7, {.scaler = &scaler});
    while (!learner.done()) learner.step();
    EXPECT_GT(heads_quality(model, heads, text_, config.held_out()).chain_tokens(), before + 0.2)
        << nn::name(precision);
  }
}

TEST_F(MedusaHeadsOnText, LearnFromTheModelsOwnAnswers) {
  lm::Model model = trained_model();
  const std::vector<Tensor> before = values_of(model.transformer().parameters());
  MedusaTrainConfig config = small_budget();
  config.self_distillation = true;
  std::vector<std::vector<Tensor>> learned;
  for (int run = 0; run < 2; ++run) {
    lm::MedusaHeads heads(model.transformer(), {.heads = 3});
    const HeadsQuality untrained = heads_quality(model, heads, text_, config.held_out());
    MedusaLearner learner(model, heads, text_, config, 7);
    double predicted = 0;
    while (!learner.done()) predicted += metric(learner.step(), "tokens");
    EXPECT_EQ(predicted, static_cast<double>(learner.state().tokens));
    EXPECT_GT(heads_quality(model, heads, text_, config.held_out()).chain_tokens(), untrained.chain_tokens() + 0.3);
    learned.push_back(values_of(heads.parameters()));
  }
  EXPECT_TRUE(same_bits(learned[0], learned[1]));
  EXPECT_TRUE(same_bits(values_of(model.transformer().parameters()), before));
}

TEST_F(MedusaHeadsOnText, InJointSelfDistillationTheModelStaysWhatItWas) {
  lm::Model model = trained_model(), teacher = trained_model();
  lm::MedusaHeads heads(model.transformer(), {.heads = 3});
  MedusaTrainConfig config = small_budget(true);
  config.self_distillation = true;
  MedusaLearner learner(model, heads, text_, config, 7, {.teacher = &teacher});
  EXPECT_NEAR(metric(learner.step(), "trunk_loss"), 0, 1e-6);  // it is the teacher yet
  double last = 0;
  while (!learner.done()) last = metric(learner.step(), "trunk_loss");
  EXPECT_FALSE(same_bits(values_of(model.transformer().parameters()), values_of(teacher.transformer().parameters())));
  EXPECT_GT(last, 0);
  EXPECT_LT(last, 0.1);
  const HeldOutLossConfig held_out{.context = 32, .tokens = 600};
  EXPECT_LT(held_out_loss(model, text_, held_out).bits_per_byte(),
            held_out_loss(teacher, text_, held_out).bits_per_byte() + 0.1);
}

TEST_F(MedusaHeadsOnText, OwnAnswersAreWhatTheSamplerDraws) {
  lm::Model model = trained_model();
  const std::vector<std::vector<int32_t>> windows = held_out_windows(text_, model.tokenizer(), 32, 3);
  std::vector<std::vector<int32_t>> whole;
  for (const std::vector<int32_t>& w : windows) {
    if (w.size() == 33) whole.push_back(w);
  }
  ASSERT_FALSE(whole.empty());
  const std::vector<OwnAnswer> answers = own_answers(model, whole, 0.5, 9, 40);
  ASSERT_EQ(answers.size(), whole.size());
  for (size_t i = 0; i < answers.size(); ++i) {
    const std::span<const int32_t> beginning = std::span(whole[i]).first(8);
    lm::Sampler sampler(model, {.max_tokens = 25, .temperature = 0.5, .seed = 9});
    const lm::SampleRequest request{beginning, 40 + i};
    std::vector<int32_t> want(beginning.begin(), beginning.end());
    const std::vector<lm::Sample> samples = sampler.generate({&request, 1});
    want.insert(want.end(), samples[0].tokens.begin(), samples[0].tokens.end());
    EXPECT_EQ(answers[i].tokens, want);
    EXPECT_EQ(answers[i].prompt_tokens, 8);
  }
}

TEST_F(MedusaHeadsOnText, SaveStepsAndNotOneBitOfTheTextIsAnother) {
  for (const nn::Precision precision : {nn::Precision::fp32, nn::Precision::bf16}) {
    lm::Model model = trained_model(precision);
    lm::MedusaHeads heads(model.transformer(), {.heads = 3});
    MedusaLearner learner(model, heads, text_, small_budget(), 7);
    while (!learner.done()) learner.step();
    lm::MedusaGuesser guesser(heads);
    const std::vector<int32_t> prompt = model.tokenizer().encode("the cat sees");
    std::vector<lm::SampleRequest> requests;
    for (uint64_t i = 0; i < 5; ++i) requests.push_back({prompt, i});
    const int64_t widths[] = {3, 2};
    for (const double temperature : {0.0, 1.0}) {
      lm::Sampler plain(model, {.max_tokens = 50, .temperature = temperature});
      const std::vector<lm::Sample> want = plain.generate(requests);
      for (const lm::DraftingConfig& config :
           {lm::DraftingConfig{}, lm::DraftingConfig{.repetitions = false},
            lm::DraftingConfig{.shape = lm::DraftingConfig::Shape::fixed, .choices = lm::chain_choices(3)},
            lm::DraftingConfig{.shape = lm::DraftingConfig::Shape::fixed, .choices = lm::cartesian_choices(widths)}}) {
        for (const int64_t max_batch : {1, 5}) {
          lm::MedusaDrafter drafter(&guesser, 3, config);
          lm::Sampler drafting(model, {.max_batch = max_batch, .max_tokens = 50, .temperature = temperature}, &drafter);
          const std::vector<lm::Sample> got = drafting.generate(requests);
          for (size_t i = 0; i < got.size(); ++i) {
            EXPECT_EQ(got[i].tokens, want[i].tokens);
            EXPECT_EQ(got[i].log_probs, want[i].log_probs);
          }
          if (temperature == 0 && max_batch == 5) {
            EXPECT_LT(drafting.stats().steps, 0.75 * static_cast<double>(plain.stats().steps));
          }
        }
      }
    }
  }
}

TEST_F(MedusaHeadsOnText, ADraftVocabularyDraftsNothingElse) {
  lm::Model model = trained_model();
  lm::MedusaHeads heads(model.transformer(), {.heads = 2});
  lm::MedusaGuesser all(heads), some(heads, {'e', 't', ' '});
  const Tensor x = kernels::random_tensor({4, model.config().width}, DType::f32, 1, 1.0);
  const std::vector<int32_t> drawn(4);
  const auto from_all = all.guess(x, drawn, 257), from_some = some.guess(x, drawn, 10);
  for (size_t i = 0; i < from_some.size(); ++i) {
    ASSERT_EQ(from_some[i].size(), 3u);
    std::vector<int32_t> order;  // of the three among all
    for (const lm::Candidate& c : from_all[i]) {
      if (c.token == 'e' || c.token == 't' || c.token == ' ') order.push_back(c.token);
    }
    for (size_t j = 0; j < 3; ++j) EXPECT_EQ(from_some[i][j].token, order[j]);
    EXPECT_NEAR(from_some[i][0].p + from_some[i][1].p + from_some[i][2].p, 1, 1e-5);
  }
}

// Reinforcement learning with heads: they draft and learn, and the policy's run is the same to the bit.
TEST(RolloutHeads, ChangeNotOneBitOfTheRun) {
  const FirstBit task;
  const K15Config config{
      .iterations = 3, .prompts = 6, .samples = 4, .minibatches = 3, .learning_rate = 1e-3, .max_tokens = 12};
  lm::Model plain = tiny_model(task), with_heads = tiny_model(task);
  with_heads.add_heads({.heads = 3, .reads_token = true});
  const std::vector<Tensor> untrained = values_of(with_heads.heads()->parameters());
  K15 a(plain, task, config, 7), b(with_heads, task, config, 7);
  double steps = 0, kept = 0;
  while (!a.done()) {
    const Metrics m = a.iterate(), n = b.iterate();
    ASSERT_EQ(a.rollouts().rollouts.size(), b.rollouts().rollouts.size());
    for (size_t i = 0; i < a.rollouts().rollouts.size(); ++i) {
      EXPECT_EQ(a.rollouts().rollouts[i].tokens, b.rollouts().rollouts[i].tokens);
      EXPECT_EQ(a.rollouts().rollouts[i].log_probs, b.rollouts().rollouts[i].log_probs);
    }
    EXPECT_EQ(metric(n, "mismatch_max"), 0.0);
    EXPECT_EQ(metric(m, "delta_mean"), metric(n, "delta_mean"));
    EXPECT_GT(metric(n, "heads_loss"), 0.0);
    steps += metric(n, "sampler_steps");
    kept += metric(n, "kept_drafts");
  }
  EXPECT_TRUE(same_bits(weights_of(plain), weights_of(with_heads)));
  EXPECT_FALSE(same_bits(values_of(with_heads.heads()->parameters()), untrained));
  EXPECT_GT(steps, 0);
  EXPECT_GE(kept, 0);
}

TEST(MedusaMemory, IsWhatThePlanSays) {
  for (const bool extras : {false, true}) {
    for (const nn::Precision precision : {nn::Precision::fp32, nn::Precision::bf16}) {
      for (const bool joint : {false, true}) {
        const lm::MedusaConfig shape{.heads = 3, .layers = 2, .own_outputs = extras, .reads_token = extras};
        lm::Model model = lm::Model::create(tiny_config(), lm::byte_tokenizer(), 1, precision);
        lm::MedusaHeads& heads = model.add_heads(shape);
        heads.allocate_gradients();
        if (joint) model.transformer().allocate_gradients();
        int64_t parameters = 0, gradients = 0, masters = 0, moments = 0;
        for (const auto* list : {&model.transformer().parameters(), &heads.parameters()}) {
          for (const nn::Parameter* p : *list) {
            parameters += static_cast<int64_t>(p->value.bytes());
            if (p->master.defined()) masters += static_cast<int64_t>(p->master.bytes());
            if (!p->grad.defined()) continue;
            gradients += static_cast<int64_t>(p->grad.bytes());
            moments += 2 * p->value.numel() * static_cast<int64_t>(size_of(kernels::computed_in(p->value.dtype())));
          }
        }
        constexpr int64_t kRows = 64;
        const MemoryPlan plan =
            plan_memory(model.config(), precision, {.rows = kRows, .heads = shape, .trunk_learns = joint});
        EXPECT_EQ(plan.parameters, parameters);
        EXPECT_EQ(plan.gradients, gradients);
        EXPECT_EQ(plan.master, masters);
        EXPECT_EQ(plan.moments, moments);
        const MemoryPlan with_teacher = plan_memory(
            model.config(), precision, {.rows = kRows, .heads = shape, .trunk_learns = joint, .teacher = true});
        int64_t trunk = 0;
        for (const nn::Parameter* p : model.transformer().parameters()) trunk += static_cast<int64_t>(p->value.bytes());
        EXPECT_EQ(with_teacher.total() - plan.total(), trunk);

        if (joint) continue;
        nn::TokenBatch batch;
        batch.append(kernels::random_ids(kRows, model.tokenizer().n_vocab(), 1));
        batch.number_pages();
        const std::vector<int32_t> rows = kernels::random_ids(kRows, kRows, 2);
        nn::Tape inference(nn::Tape::Mode::inference), tape;
        const nn::Var x = tape.constant(model.transformer().hidden(inference, batch).value());
        const nn::Var e = heads.read(tape, batch.ids);
        for (int64_t k = 0; k < shape.heads; ++k)
          autograd::token_log_probs(heads.hidden(x, e, k), heads.output(k), rows, batch.ids, 1.0);
        // Beside the values, the heads' nodes keep log-sum-exps.
        const auto wide = static_cast<int64_t>(size_of(nn::formats(precision).vectors));
        EXPECT_EQ(plan.activations, tape.value_bytes() + shape.heads * kRows * wide);
      }
    }
  }
}

TEST(MedusaConfigs, ThatMakeNoSenseAreErrors) {
  for (const MedusaTrainConfig& bad :
       {MedusaTrainConfig{.heads = 0}, MedusaTrainConfig{.heads = 100}, MedusaTrainConfig{.layers = 0},
        MedusaTrainConfig{.heads = 5, .context = 6}, MedusaTrainConfig{.trunk_rate = 0},
        MedusaTrainConfig{.answer_temperature = -1}, MedusaTrainConfig{.decay = 1.5}, MedusaTrainConfig{.tokens = 0}}) {
    EXPECT_GRADUS_ERROR(bad.check(), invalid_argument, "");
  }
}

}  // namespace
}  // namespace gradus::posttrain
