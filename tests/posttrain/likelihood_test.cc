#include "gradus/posttrain/likelihood.h"

#include <cmath>

#include "tests/posttrain/small_task.h"

namespace gradus::posttrain {
namespace {

// Sequences of different lengths, some over one key block, and a weight for each.
struct Data {
  std::vector<std::vector<int32_t>> tokens;
  std::vector<TrainSequence> sequences;
  std::vector<double> weights;

  explicit Data(int64_t n_vocab) {
    constexpr int64_t kLengths[] = {2, 9, 70, 5, 33, 12}, kPrompts[] = {1, 4, 60, 4, 1, 11};
    for (size_t i = 0; i < std::size(kLengths); ++i) tokens.push_back(kernels::random_ids(kLengths[i], n_vocab, i));
    for (size_t i = 0; i < tokens.size(); ++i) sequences.push_back({tokens[i], kPrompts[i]});
    Rng rng(4, Purpose::test);
    for (size_t i = 0; i < tokens.size(); ++i) weights.push_back(rng.normal());
  }
};

// Answers to the same prompts: one that ends inside a key block behind another, one of a token only, one alone.
struct SharedPrompts : Data {
  explicit SharedPrompts(int64_t n_vocab) : Data(n_vocab) {
    tokens.clear();
    sequences.clear();
    weights.clear();
    constexpr int64_t kPrompts[] = {70, 70, 70, 70, 9, 9, 12}, kResponses[] = {5, 1, 50, 3, 20, 60, 8};
    for (size_t i = 0; i < std::size(kPrompts); ++i) {
      tokens.push_back(kernels::random_ids(kPrompts[i], n_vocab, 50 + static_cast<uint64_t>(kPrompts[i])));
      const std::vector<int32_t> response = kernels::random_ids(kResponses[i], n_vocab, 90 + i);
      tokens.back().insert(tokens.back().end(), response.begin(), response.end());
    }
    Rng rng(5, Purpose::test);
    for (size_t i = 0; i < tokens.size(); ++i) {
      sequences.push_back({tokens[i], kPrompts[i]});
      weights.push_back(rng.normal());
    }
  }
};

struct Outcome {
  std::vector<std::vector<float>> log_probs;
  std::vector<Tensor> gradients;
  std::vector<double> losses;  // of each micro-batch
};

Outcome run(lm::Model& model, const Data& data, int64_t max_rows, double temperature = 1.0) {
  model.transformer().allocate_gradients();
  for (nn::Parameter* p : model.transformer().parameters()) p->grad.fill_zero();
  Outcome out;
  PackedLikelihood(model.transformer(), temperature, max_rows)
      .run(
          data.sequences,
          [&](size_t i, std::span<const float> log_probs) {
            EXPECT_EQ(i, out.log_probs.size());  // in order, each once
            out.log_probs.emplace_back(log_probs.begin(), log_probs.end());
            return data.weights[i];
          },
          [&](nn::Var loss, bool) {
            out.losses.push_back(loss.value().data<float>()[0]);
            loss.tape->backward(loss);
          });
  out.gradients = gradients_of(model);
  return out;
}

constexpr int64_t kPackings[] = {1, 16, 64, 90, 4096};

TEST(PackedLikelihood, LogProbsDoNotDependOnThePacking) {
  kernels::for_each_isa([] {
    lm::Model model = tiny_model(FirstBit());
    const Data data(model.tokenizer().n_vocab());
    const Outcome want = run(model, data, 4096, 0.7);
    for (const int64_t max_rows : kPackings) EXPECT_EQ(run(model, data, max_rows, 0.7).log_probs, want.log_probs);
  });
}

TEST(PackedLikelihood, EvaluateGivesTheBitsOfTheGradientsPass) {
  lm::Model model = tiny_model(FirstBit());
  const Data data(model.tokenizer().n_vocab());
  const Outcome want = run(model, data, 64);
  std::vector<std::vector<float>> got;
  PackedLikelihood(model.transformer(), 1.0, 64)
      .evaluate(data.sequences, [&](size_t i, std::span<const float> log_probs) {
        EXPECT_EQ(i, got.size());
        got.emplace_back(log_probs.begin(), log_probs.end());
      });
  EXPECT_EQ(got, want.log_probs);
}

TEST(PackedLikelihood, LossIsMinusTheWeightedLogLikelihood) {
  lm::Model model = tiny_model(FirstBit());
  const Data data(model.tokenizer().n_vocab());
  const auto wide = in_double(model.transformer());
  double want = 0;
  for (size_t i = 0; i < data.sequences.size(); ++i) {
    want -= data.weights[i] * log_likelihood(*wide, data.tokens[i], data.sequences[i].prompt_tokens, 0.8);
  }
  for (const int64_t max_rows : kPackings) {
    double got = 0;
    for (const double loss : run(model, data, max_rows, 0.8).losses) got += loss;
    EXPECT_NEAR(got, want, 1e-4 * (1 + std::abs(want)));
  }
}

TEST(PackedLikelihood, MicroBatchesHoldAtMostTheirRows) {
  lm::Model model = tiny_model(FirstBit());
  const Data data(model.tokenizer().n_vocab());  // inputs of 1, 8, 69, 4, 32 and 11 rows
  EXPECT_EQ(run(model, data, 1).losses.size(), 6u);
  EXPECT_EQ(run(model, data, 64).losses.size(), 3u);   // {1, 8}, {69} alone although too long, {4, 32, 11}
  EXPECT_EQ(run(model, data, 78).losses.size(), 2u);   // {1, 8, 69}, {4, 32, 11}
  EXPECT_EQ(run(model, data, 125).losses.size(), 1u);  // all
  EXPECT_EQ(run(model, data, 124).losses.size(), 2u);
}

TEST(PackedLikelihood, GradientIsTheSumOfThoseOfTheSequences) {
  lm::Model model = tiny_model(FirstBit());
  const Data data(model.tokenizer().n_vocab());
  const std::vector<Tensor> alone = run(model, data, 1).gradients;
  for (const int64_t max_rows : {64, 4096}) {
    const std::vector<Tensor> packed = run(model, data, max_rows).gradients;
    for (size_t i = 0; i < alone.size(); ++i) {
      double largest = 0, error = 0;
      for (int64_t j = 0; j < alone[i].numel(); ++j) {
        const double a = alone[i].data<float>()[j], b = packed[i].data<float>()[j];
        largest = std::max(largest, std::abs(a));
        error = std::max(error, std::abs(a - b));
      }
      EXPECT_LE(error, 2e-5 * largest) << model.transformer().parameters()[i]->name;
    }
  }
}

void expect_gradient_is_the_slope(lm::Model& model, const Data& data, int64_t max_rows) {
  const Outcome out = run(model, data, max_rows, 0.8);
  const auto loss = [&](nn::Transformer& wide) {
    double sum = 0;
    for (size_t i = 0; i < data.sequences.size(); ++i) {
      sum -= data.weights[i] * log_likelihood(wide, data.tokens[i], data.sequences[i].prompt_tokens, 0.8);
    }
    return sum;
  };
  expect_slopes(model.transformer(), out.gradients, loss, 1e-4);
}

TEST(PackedLikelihood, GradientIsTheSlopeOfTheLoss) {
  lm::Model model = tiny_model(FirstBit());
  expect_gradient_is_the_slope(model, Data(model.tokenizer().n_vocab()), 64);
}

// With one row a micro-batch every answer comes with its own prompt.
TEST(PackedLikelihood, APromptThatIsComputedOnceChangesNoBitOfItsAnswers) {
  kernels::for_each_isa([] {
    lm::Model model = tiny_model(FirstBit());
    const SharedPrompts data(model.tokenizer().n_vocab());
    const Outcome alone = run(model, data, 1, 0.7);
    EXPECT_EQ(alone.losses.size(), data.sequences.size());
    for (const int64_t max_rows : {76, 140, 4096}) {
      EXPECT_EQ(run(model, data, max_rows, 0.7).log_probs, alone.log_probs) << max_rows;
    }
  });
}

TEST(PackedLikelihood, ASharedPromptTakesItsRowsOnce) {
  lm::Model model = tiny_model(FirstBit());
  const SharedPrompts data(model.tokenizer().n_vocab());  // 70 + (4 + 0 + 49 + 2), 9 + (19 + 59), 19 rows
  EXPECT_EQ(run(model, data, 231).losses.size(), 1u);
  EXPECT_EQ(run(model, data, 230).losses.size(), 2u);
}

TEST(PackedLikelihood, GradientThroughSharedPromptsIsTheSlopeOfTheLoss) {
  lm::Model model = tiny_model(FirstBit());
  expect_gradient_is_the_slope(model, SharedPrompts(model.tokenizer().n_vocab()), 4096);
}

TEST(PackedLikelihood, GradientThroughSharedPromptsHasTheSameBitsOnEveryNumberOfThreads) {
  lm::Model model = tiny_model(FirstBit());
  const SharedPrompts data(model.tokenizer().n_vocab());
  const Outcome want = run(model, data, 4096);
  kernels::for_1_2_3_threads([&] { EXPECT_TRUE(same_bits(run(model, data, 4096).gradients, want.gradients)); });
}

TEST(PackedLikelihood, AWeightOfZeroAddsNothing) {
  lm::Model model = tiny_model(FirstBit());
  Data data(model.tokenizer().n_vocab());
  data.weights.assign(data.weights.size(), 0.0);
  for (const Tensor& g : run(model, data, 64).gradients) {
    EXPECT_TRUE(kernels::same_bits(g, Tensor::zeros(g.shape())));
  }
}

TEST(PackedLikelihood, IsUsableAfterACallThatThrew) {
  lm::Model model = tiny_model(FirstBit());
  const Data data(model.tokenizer().n_vocab());
  const Outcome want = run(model, data, 64);
  for (nn::Parameter* p : model.transformer().parameters()) p->grad.fill_zero();
  PackedLikelihood likelihood(model.transformer(), 1.0, 64);
  const auto weigh = [&](size_t i, std::span<const float>) { return data.weights[i]; };
  EXPECT_THROW(likelihood.run(data.sequences, weigh, [](nn::Var, bool) { fail(ErrorCode::interrupted, "stop"); }),
               Error);
  likelihood.run(data.sequences, weigh, [](nn::Var loss, bool) { loss.tape->backward(loss); });
  EXPECT_TRUE(same_bits(gradients_of(model), want.gradients));
}

TEST(PackedLikelihood, NoSequencesCallNothing) {
  lm::Model model = tiny_model(FirstBit());
  PackedLikelihood(model.transformer(), 1.0, 64)
      .run(
          {}, [](size_t, std::span<const float>) { return ADD_FAILURE(), 0.0; }, [](nn::Var, bool) { ADD_FAILURE(); });
}

}  // namespace
}  // namespace gradus::posttrain
