#include "gradus/kernels/embedding.h"

#include "tests/kernels/grid.h"

namespace gradus::kernels {
namespace {

constexpr int64_t kVocab = 17;

TEST(Embedding, CopiesTheRowsOfTheIds) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const int64_t rows : kSizes) {
      for (const int64_t cols : kSizes) {
        const Tensor weight = random_tensor({kVocab, cols}, dtype, 1);
        const std::vector<int32_t> ids = random_ids(rows, kVocab, 2);
        Tensor y = Tensor::zeros({rows, cols}, dtype);
        embedding(ids, weight, y);
        for (int64_t r = 0; r < rows; ++r) {
          const int64_t id = ids[static_cast<size_t>(r)];
          ASSERT_TRUE(same_bits(y.rows(r, r + 1), weight.rows(id, id + 1)));
        }
      }
    }
  }
}

TEST(Embedding, GradientAddsRowsInAscendingOrder) {
  for (const int64_t rows : kSizes) {
    for (const int64_t cols : kSizes) {
      const std::vector<int32_t> ids = random_ids(rows, kVocab, 1);
      const Tensor d_y = random_tensor({rows, cols}, DType::f32, 2);
      Tensor d_weight = random_tensor({kVocab, cols}, DType::f32, 3), expected = d_weight.clone();
      embedding_backward(ids, d_y, d_weight);
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t j = 0; j < cols; ++j) {
          expected.data<float>()[ids[static_cast<size_t>(r)] * cols + j] += d_y.data<float>()[r * cols + j];
        }
      }
      EXPECT_TRUE(same_bits(d_weight, expected));
    }
  }
}

TEST(Embedding, GradientEqualsCentralDifferences) {
  Tensor weight = random_tensor({5, 3}, DType::f64, 1);
  const std::vector<int32_t> ids = {4, 0, 4, 2};
  const Tensor w = random_tensor({4, 3}, DType::f64, 2);
  Tensor d_weight = Tensor::zeros({5, 3}, DType::f64), y = Tensor::zeros({4, 3}, DType::f64);
  embedding_backward(ids, w, d_weight);
  expect_gradient(weight, d_weight, [&] {
    embedding(ids, weight, y);
    return weighted_sum(y, w);
  });
}

TEST(Embedding, GradientDoesNotDependOnTheThreadCount) {
  const std::vector<int32_t> ids = random_ids(2000, kVocab, 1);
  const Tensor d_y = random_tensor({2000, 96}, DType::f32, 2);
  std::vector<Tensor> gradients;
  for_1_2_3_threads([&] {
    gradients.push_back(Tensor::zeros({kVocab, 96}));
    embedding_backward(ids, d_y, gradients.back());
    EXPECT_TRUE(same_bits(gradients.back(), gradients.front()));
  });
}

TEST(Embedding, AnIdOutsideTheTableIsNamed) {
  Tensor weight = Tensor::zeros({4, 2}), y = Tensor::zeros({2, 2});
  const std::vector<int32_t> ids = {0, 4};
  try {
    embedding(ids, weight, y);
    FAIL() << "no Error was thrown";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
    EXPECT_STREQ(e.what(), "embedding: id 4 of row 1 is outside [0, 4)");
  }
  EXPECT_EQ(error_code_of([&] { embedding_backward(ids, y, weight); }), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace gradus::kernels
