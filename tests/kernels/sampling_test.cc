#include "gradus/kernels/sampling.h"

#include <algorithm>
#include <limits>

#include "gradus/kernels/ref/softmax.h"
#include "gradus/kernels/softmax.h"
#include "tests/kernels/grid.h"

namespace gradus::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kLargestUniform = 0x1.fffffep-1f;

struct Samples {
  std::vector<int32_t> ids;
  std::vector<float> log_prob;
};

Samples sample(const Tensor& logits, double temperature, std::span<const float> uniforms) {
  const auto rows = static_cast<size_t>(logits.dim(0));
  Samples out{std::vector<int32_t>(rows), std::vector<float>(rows)};
  sample_tokens(logits, temperature, uniforms, out.ids, out.log_prob);
  return out;
}

std::vector<float> random_uniforms(int64_t n, uint64_t stream) {
  std::vector<float> u(static_cast<size_t>(n));
  Rng rng(3, Purpose::test, stream);
  for (float& x : u) x = rng.uniform_f32();
  return u;
}

TEST(Sampling, TheRecordedLogProbabilityIsTheTrainersBitForBit) {
  for_each_isa([] {
    for (const double temperature : {0.0, 0.3, 1.0, 1.7}) {
      for (const int64_t n_vocab : {1, 2, 7, 20, 31, 64, 257, 5000}) {
        const Tensor z = random_tensor({64, n_vocab}, DType::f32, 1, 3);
        const Samples s = sample(z, temperature, random_uniforms(64, 2));
        Tensor log_p = Tensor::empty({64}), lse = Tensor::empty({64});
        log_prob(z, s.ids, temperature == 0 ? 1 : temperature, log_p, lse);
        EXPECT_TRUE(same_bits(Tensor::from<float>(s.log_prob, {64}), log_p));
      }
    }
  });
}

TEST(Sampling, DrawsTheReferencesIds) {
  for_each_isa([] {
    for (const int64_t n_vocab : {1, 2, 7, 31, 64, 257, 5000}) {
      const Tensor z = random_tensor({64, n_vocab}, DType::f32, 1, 2);
      const std::vector<float> u = random_uniforms(64, 2);
      const Samples s = sample(z, 0.8, u);
      const float inv = static_cast<float>(1 / 0.8);
      for (size_t r = 0; r < 64; ++r) {
        const float* row = z.data<float>() + static_cast<int64_t>(r) * n_vocab;
        const float lse = ref::log_sum_exp(row, n_vocab, inv);
        EXPECT_EQ(s.ids[r], ref::sample<float>({.z = row, .n = n_vocab, .inv = inv, .lse = lse, .u = u[r]}));
      }
    }
  });
}

TEST(Sampling, FrequenciesFollowTheProbabilities) {
  constexpr int64_t kRows = 20000, kVocab = 6;
  const Tensor one = random_tensor({1, kVocab}, DType::f32, 1);
  Tensor z = Tensor::empty({kRows, kVocab}), p = Tensor::empty({1, kVocab});
  for (int64_t r = 0; r < kRows; ++r) std::copy_n(one.data<float>(), kVocab, z.data<float>() + r * kVocab);
  softmax(one, p);
  const Samples s = sample(z, 1, random_uniforms(kRows, 2));
  double chi2 = 0;
  for (int32_t id = 0; id < kVocab; ++id) {
    const double expected = kRows * p.data<float>()[id];
    const auto seen = static_cast<double>(std::count(s.ids.begin(), s.ids.end(), id));
    chi2 += (seen - expected) * (seen - expected) / expected;
  }
  EXPECT_LT(chi2, 20.5);  // 99.9 % quantile at 5 degrees of freedom
}

TEST(Sampling, GreedyTakesTheLowestOfEqualMaxima) {
  for_each_isa([] {
    Tensor z = Tensor::zeros({3, 40});
    z.data<float>()[40 + 17] = z.data<float>()[40 + 33] = 2;  // row 1
    z.data<float>()[80 + 39] = 1;                             // row 2
    EXPECT_EQ(sample(z, 0, {}).ids, (std::vector<int32_t>{0, 17, 39}));
  });
}

TEST(Sampling, NeverDrawsAMaskedId) {
  for_each_isa([] {
    Tensor z = Tensor::zeros({2, 70});
    for (float& v : z.span<float>()) v = -kInf;
    for (const int64_t row : {0, 1}) z.data<float>()[row * 70 + 3] = z.data<float>()[row * 70 + 66] = 1;
    EXPECT_EQ(sample(z, 1, std::vector<float>{0, kLargestUniform}).ids, (std::vector<int32_t>{3, 66}));
  });
}

TEST(Sampling, OnlyTheFirstIdsAreDrawnAndAllArePartOfTheLogProbability) {
  constexpr int64_t kRows = 500, kVocab = 40, kDrawn = 33;
  for_each_isa([] {
    Tensor logits = random_tensor({kRows, kVocab}, DType::f32, 3, 2.0);
    for (int64_t r = 0; r < kRows; ++r) logits.data<float>()[r * kVocab + kDrawn + r % 7] += 8;  // the likeliest by far
    Tensor first = Tensor::empty({kRows, kDrawn}, DType::f32);
    for (int64_t r = 0; r < kRows; ++r)
      std::copy_n(logits.data<float>() + r * kVocab, kDrawn, first.data<float>() + r * kDrawn);
    std::vector<float> uniforms;
    Rng rng(1, Purpose::test);
    for (int64_t r = 0; r < kRows; ++r) uniforms.push_back(rng.uniform_f32());
    for (const double temperature : {0.0, 1.0, 0.6}) {
      std::vector<int32_t> ids(kRows), alone(kRows);
      std::vector<float> log_probs(kRows), ignored(kRows);
      sample_tokens(logits, temperature, uniforms, ids, log_probs, kDrawn);
      sample_tokens(first, temperature, uniforms, alone, ignored);
      EXPECT_EQ(ids, alone);
      Tensor want = Tensor::empty({kRows}, DType::f32), lse = Tensor::empty({kRows}, DType::f32);
      log_prob(logits, ids, temperature > 0 ? temperature : 1, want, lse);
      EXPECT_TRUE(same_bits(Tensor::from<float>(log_probs, {kRows}), want));
    }
  });
}

TEST(Sampling, TheEndsOfTheUniformStayInsideTheVocabulary) {
  for_each_isa([] {
    for (const int64_t n_vocab : {1, 7, 64, 5000}) {
      const Tensor z = random_tensor({2, n_vocab}, DType::f32, 1);
      const Samples s = sample(z, 1, std::vector<float>{0, kLargestUniform});
      EXPECT_EQ(s.ids[0], 0);
      EXPECT_GE(s.ids[1], 0);
      EXPECT_LT(s.ids[1], n_vocab);
      EXPECT_TRUE(std::isfinite(s.log_prob[1]));
    }
  });
}

TEST(Sampling, DoesNotDependOnTheBatchOrTheThreadCount) {
  const Tensor z = random_tensor({3000, 20}, DType::f32, 1, 2);
  const std::vector<float> u = random_uniforms(3000, 2);
  const Samples together = sample(z, 1, u);
  for_1_2_3_threads([&] {
    const Samples again = sample(z, 1, u);
    EXPECT_EQ(again.ids, together.ids);
    EXPECT_EQ(again.log_prob, together.log_prob);
  });
  for (const int64_t r : {0, 818, 819, 2999}) {
    const auto i = static_cast<size_t>(r);
    const Samples alone = sample(z.rows(r, r + 1), 1, {&u[i], 1});
    EXPECT_EQ(alone.ids[0], together.ids[i]);
    EXPECT_EQ(alone.log_prob[0], together.log_prob[i]);
  }
}

TEST(Sampling, RowsWithoutADistributionAreDiverged) {
  for_each_isa([] {
    for (const double temperature : {0.0, 1.0}) {
      for (const float bad : {std::numeric_limits<float>::quiet_NaN(), kInf}) {
        Tensor z = random_tensor({3, 20}, DType::f32, 1);
        z.data<float>()[47] = bad;
        EXPECT_EQ(error_code_of([&] { sample(z, temperature, random_uniforms(3, 2)); }), ErrorCode::diverged);
      }
      Tensor masked = Tensor::zeros({1, 5});
      for (float& v : masked.span<float>()) v = -kInf;
      EXPECT_EQ(error_code_of([&] { sample(masked, temperature, random_uniforms(1, 2)); }), ErrorCode::diverged);
    }
  });
}

TEST(Sampling, WrongArgumentsAreErrors) {
  const Tensor z = Tensor::zeros({2, 5});
  EXPECT_EQ(error_code_of([&] { sample(z, -1, random_uniforms(2, 1)); }), ErrorCode::invalid_argument);
  EXPECT_EQ(error_code_of([&] { sample(z, 1, random_uniforms(1, 1)); }), ErrorCode::invalid_argument);
  EXPECT_EQ(error_code_of([&] {
              sample(Tensor::zeros({2, 5}, DType::i32), 1, random_uniforms(2, 1));
            }),
            ErrorCode::unsupported);
}

}  // namespace
}  // namespace gradus::kernels
