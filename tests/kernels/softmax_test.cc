#include "gradus/kernels/softmax.h"

#include <limits>

#include "gradus/kernels/ref/softmax.h"
#include "tests/kernels/grid.h"

namespace gradus::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

Tensor softmax_of(const Tensor& x) {
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  softmax(x, y);
  return y;
}

struct LogProb {
  Tensor log_p, lse;
};

LogProb log_prob_of(const Tensor& logits, std::span<const int32_t> ids, double temperature) {
  LogProb out{Tensor::empty({logits.dim(0)}, logits.dtype()), Tensor::empty({logits.dim(0)}, logits.dtype())};
  log_prob(logits, ids, temperature, out.log_p, out.lse);
  return out;
}

TEST(Softmax, VectorKernelEqualsTheReferenceBitForBit) {
  for_each_isa([] {
    for (const int64_t rows : kSizes) {
      for (const int64_t cols : kSizes) {
        const Tensor x = random_tensor({rows, cols}, DType::f32, 1, 10);
        Tensor expected = Tensor::zeros(x.shape());
        for (int64_t r = 0; r < rows; ++r) {
          ref::softmax(x.data<float>() + r * cols, cols, expected.data<float>() + r * cols);
        }
        EXPECT_TRUE(same_bits(softmax_of(x), expected));
      }
    }
  });
}

TEST(Softmax, RowsSumToOneAndSurviveLargeLogits) {
  for_each_isa([] {
    const Tensor y = softmax_of(random_tensor({9, 1000}, DType::f32, 1, 1e4));
    for (int64_t r = 0; r < 9; ++r) {
      double sum = 0;
      for (int64_t j = 0; j < 1000; ++j) sum += y.data<float>()[r * 1000 + j];
      EXPECT_NEAR(sum, 1, 1e-6);
    }
  });
}

TEST(Softmax, FullyMaskedRowIsZeroAndMaskedColumnsAreZero) {
  for_each_isa([] {
    const float values[] = {-kInf, -kInf, -kInf, 1, -kInf, 1};
    const Tensor y = softmax_of(Tensor::from<float>(values, {2, 3}));
    const float expected[] = {0, 0, 0, 0.5f, 0, 0.5f};
    EXPECT_TRUE(same_bits(y, Tensor::from<float>(expected, {2, 3})));
  });
}

TEST(LogProb, VectorKernelsEqualTheReferenceBitForBit) {
  for_each_isa([] {
    for (const int64_t rows : kSizes) {
      for (const int64_t n_vocab : {1, 2, 7, 20, 31, 64, 257}) {
        Tensor z = random_tensor({rows, n_vocab}, DType::f32, 1, 5);
        const std::vector<int32_t> ids = random_ids(rows, n_vocab, 2);
        const Tensor d_log_p = random_tensor({rows}, DType::f32, 3);
        const LogProb out = log_prob_of(z, ids, 0.7);
        const float inv = static_cast<float>(1 / 0.7);
        Tensor d_z = z.clone();
        log_prob_backward(d_z, ids, 0.7, out.lse, d_log_p);
        for (int64_t r = 0; r < rows; ++r) {
          float* row = z.data<float>() + r * n_vocab;
          const int32_t id = ids[static_cast<size_t>(r)];
          const float lse = ref::log_sum_exp(row, n_vocab, inv);
          ASSERT_EQ(out.lse.data<float>()[r], lse);
          ASSERT_EQ(out.log_p.data<float>()[r], row[id] * inv - lse);
          const float g = d_log_p.data<float>()[r] * inv;
          ref::log_prob_backward<float>({.z = row, .n = n_vocab, .inv = inv, .lse = lse, .g = g});
          row[id] += g;
        }
        EXPECT_TRUE(same_bits(d_z, z));
      }
    }
  });
}

TEST(LogProb, EqualsThePlainFormulaUpToALargeVocabulary) {
  for (const int64_t n_vocab : {1, 151936, 200000}) {
    const Tensor z = random_tensor({2, n_vocab}, DType::f32, 1, 3);
    const std::vector<int32_t> ids = random_ids(2, n_vocab, 2);
    const LogProb out = log_prob_of(z, ids, 1);
    for (int64_t r = 0; r < 2; ++r) {
      const float* row = z.data<float>() + r * n_vocab;
      double sum = 0;
      for (int64_t j = 0; j < n_vocab; ++j) sum += std::exp(static_cast<double>(row[j]));
      EXPECT_NEAR(out.log_p.data<float>()[r], row[ids[static_cast<size_t>(r)]] - std::log(sum), 1e-5);
    }
  }
}

TEST(LogProb, GradientEqualsCentralDifferences) {
  Tensor z = random_tensor({4, 11}, DType::f64, 1, 2);
  const std::vector<int32_t> ids = {0, 10, 5, 5};
  const Tensor w = random_tensor({4}, DType::f64, 2);
  Tensor d_z = z.clone();
  log_prob_backward(d_z, ids, 0.6, log_prob_of(z, ids, 0.6).lse, w);
  expect_gradient(z, d_z, [&] { return weighted_sum(log_prob_of(z, ids, 0.6).log_p, w); });
}

TEST(LogProb, ARowWithoutWeightHasAZeroGradientWhateverItHolds) {
  Tensor z = Tensor::zeros({1, 40});
  for (float& v : z.span<float>()) v = std::numeric_limits<float>::quiet_NaN();
  const std::vector<int32_t> ids = {3};
  log_prob_backward(z, ids, 1, Tensor::zeros({1}), Tensor::zeros({1}));
  EXPECT_TRUE(same_bits(z, Tensor::zeros({1, 40})));
}

TEST(LogProb, ANonFiniteLogitMakesItNaN) {
  for_each_isa([] {
    for (const float bad : {kInf, std::numeric_limits<float>::quiet_NaN()}) {
      for (const int64_t at : {0, 5, 16, 36}) {
        Tensor z = random_tensor({1, 37}, DType::f32, 1);
        z.data<float>()[at] = bad;
        const std::vector<int32_t> ids = {1};
        EXPECT_TRUE(std::isnan(log_prob_of(z, ids, 1).log_p.data<float>()[0])) << at;
      }
    }
  });
}

TEST(LogProb, ARowDoesNotDependOnTheBatch) {
  const Tensor z = random_tensor({2000, 23}, DType::f32, 1, 4);
  const std::vector<int32_t> ids = random_ids(2000, 23, 2);
  const LogProb together = log_prob_of(z, ids, 0.9);
  for (const int64_t r : {0, 1, 711, 712, 1999}) {
    const LogProb alone = log_prob_of(z.rows(r, r + 1), {&ids[static_cast<size_t>(r)], 1}, 0.9);
    EXPECT_TRUE(same_bits(alone.log_p, together.log_p.rows(r, r + 1)));
  }
}

TEST(LogProb, WrongArgumentsAreInvalid) {
  const Tensor z = Tensor::zeros({2, 3});
  const std::vector<int32_t> ids = {0, 2}, bad_ids = {0, 3}, one_id = {0};
  EXPECT_EQ(error_code_of([&] { log_prob_of(z, bad_ids, 1); }), ErrorCode::invalid_argument);
  EXPECT_EQ(error_code_of([&] { log_prob_of(z, one_id, 1); }), ErrorCode::invalid_argument);
  for (const double temperature : {0.0, -1.0, 1e-300, std::numeric_limits<double>::infinity()}) {
    EXPECT_EQ(error_code_of([&] { log_prob_of(z, ids, temperature); }), ErrorCode::invalid_argument) << temperature;
  }
}

}  // namespace
}  // namespace gradus::kernels
