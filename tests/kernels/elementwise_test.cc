#include "gradus/kernels/elementwise.h"

#include <limits>

#include "gradus/kernels/ref/elementwise.h"
#include "tests/kernels/grid.h"

namespace gradus::kernels {
namespace {

constexpr int64_t kLengths[] = {0, 1, 2, 7, 31, 64, 257, 4096, 40001};

TEST(Elementwise, VectorKernelsEqualTheReferenceBitForBit) {
  for_each_isa([] {
    for (const int64_t n : kLengths) {
      const Tensor a = random_tensor({n}, DType::f32, 1), b = random_tensor({n}, DType::f32, 2);
      Tensor y = Tensor::zeros({n}), expected = Tensor::zeros({n});
      add(a, b, y);
      ref::add(a.data<float>(), b.data<float>(), n, expected.data<float>());
      EXPECT_TRUE(same_bits(y, expected));
      y = a.clone();
      add_in_place(y, b);
      EXPECT_TRUE(same_bits(y, expected));

      scale_in_place(y, 0.3);
      ref::scale(0.3f, n, expected.data<float>());
      EXPECT_TRUE(same_bits(y, expected));

      axpy(-1.7, a, y);
      ref::axpy(-1.7f, a.data<float>(), n, expected.data<float>());
      EXPECT_TRUE(same_bits(y, expected));

      lerp(0.3, b, y);
      ref::lerp(0.3f, b.data<float>(), n, expected.data<float>());
      EXPECT_TRUE(same_bits(y, expected));

      fill(y, 0.1);
      for (const float v : y.span<float>()) ASSERT_EQ(v, 0.1f);
    }
  });
}

TEST(Elementwise, WritesNothingBehindTheEnd) {
  for_each_isa([] {
    for (int64_t n = 0; n <= 40; ++n) {
      Tensor buffer = Tensor::zeros({n + 32});
      fill(buffer, 7);
      Tensor y = buffer.rows(0, n);
      scale_in_place(y, 2);
      for (int64_t i = 0; i < n + 32; ++i) ASSERT_EQ(buffer.data<float>()[i], i < n ? 14 : 7) << n;
    }
  });
}

TEST(Bias, VectorKernelsEqualTheReferenceBitForBit) {
  for_each_isa([] {
    for (const int64_t rows : kSizes) {
      for (const int64_t cols : kSizes) {
        const Tensor bias = random_tensor({cols}, DType::f32, 1);
        Tensor y = random_tensor({rows, cols}, DType::f32, 2), expected = y.clone();
        add_bias(y, bias);
        for (int64_t r = 0; r < rows; ++r) {
          float* row = expected.data<float>() + r * cols;
          ref::add(row, bias.data<float>(), cols, row);
        }
        EXPECT_TRUE(same_bits(y, expected));

        Tensor d_bias = bias.clone(), d_bias_ref = bias.clone(), partial = Tensor::zeros({cols});
        bias_backward(y, d_bias);
        for (int64_t begin = 0; begin < rows; begin += kBiasRowChunk) {
          ref::sum_rows(y.data<float>() + begin * cols, std::min(kBiasRowChunk, rows - begin), cols,
                        partial.data<float>());
          ref::add(d_bias_ref.data<float>(), partial.data<float>(), cols, d_bias_ref.data<float>());
        }
        EXPECT_TRUE(same_bits(d_bias, d_bias_ref));
      }
    }
  });
}

TEST(Bias, GradientEqualsCentralDifferences) {
  Tensor bias = random_tensor({5}, DType::f64, 1);
  const Tensor x = random_tensor({70, 5}, DType::f64, 2), w = random_tensor({70, 5}, DType::f64, 3);
  Tensor d_bias = Tensor::zeros({5}, DType::f64);
  bias_backward(w, d_bias);
  expect_gradient(bias, d_bias, [&] {
    Tensor y = x.clone();
    add_bias(y, bias);
    return weighted_sum(y, w);
  });
}

TEST(Bias, GradientDoesNotDependOnTheThreadCount) {
  const Tensor d_y = random_tensor({3000, 40}, DType::f32, 1);
  std::vector<Tensor> gradients;
  for_1_2_3_threads([&] {
    gradients.push_back(Tensor::zeros({40}));
    bias_backward(d_y, gradients.back());
    EXPECT_TRUE(same_bits(gradients.back(), gradients.front()));
  });
}

TEST(Sums, AreTheSameOnEveryInstructionSetAndThreadCount) {
  for (const int64_t n : kLengths) {
    const Tensor x = random_tensor({n}, DType::f32, 1), w = random_tensor({n}, DType::f32, 2);
    double expected = 0, magnitude = 0;
    for (int64_t begin = 0; begin < n; begin += kSumChunk) {
      expected += ref::dot(x.data<float>() + begin, w.data<float>() + begin, std::min(kSumChunk, n - begin));
    }
    for (int64_t i = 0; i < n; ++i) magnitude += std::abs(x.data<float>()[i] * w.data<float>()[i]);
    double plain = 0;
    for (int64_t i = 0; i < n; ++i) plain += static_cast<double>(x.data<float>()[i]) * w.data<float>()[i];
    EXPECT_NEAR(expected, plain, 1e-14 * (1 + magnitude));
    for_each_isa([&] { EXPECT_EQ(dot(x, w), expected); });
    for_1_2_3_threads([&] { EXPECT_EQ(dot(x, w), expected); });
    EXPECT_EQ(sum_of_squares(x), dot(x, x));
  }
}

TEST(Sums, OfSquaresNeitherOverflowNorUnderflow) {
  Tensor x = Tensor::zeros({100});
  fill(x, 1e30);
  EXPECT_NEAR(std::sqrt(sum_of_squares(x)), 1e31, 1e24);
  fill(x, 1e-30);
  EXPECT_NEAR(std::sqrt(sum_of_squares(x)), 1e-29, 1e-36);
}

TEST(AllFinite, FindsOneBadElementAnywhere) {
  for_each_isa([] {
    for (const int64_t n : {1, 7, 31, 257, 40001}) {
      Tensor x = random_tensor({n}, DType::f32, 1, 1e30);
      EXPECT_TRUE(all_finite(x));
      for (const int64_t at : {int64_t{0}, n / 2, n - 1}) {
        for (const float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                                std::numeric_limits<float>::quiet_NaN()}) {
          const float before = std::exchange(x.data<float>()[at], bad);
          EXPECT_FALSE(all_finite(x)) << at << " of " << n;
          x.data<float>()[at] = before;
        }
      }
    }
    EXPECT_TRUE(all_finite(Tensor::zeros({0})));
  });
}

TEST(Elementwise, TheSteadyStateCreatesNoTensorStorage) {
  const Tensor d_y = random_tensor({3000, 40}, DType::f32, 1);
  Tensor d_bias = Tensor::zeros({40});
  const auto step = [&] {
    bias_backward(d_y, d_bias);
    return sum_of_squares(d_y);
  };
  step();
  const int64_t before = tensor_storages_created();
  step();
  EXPECT_EQ(tensor_storages_created(), before);
}

TEST(Elementwise, MismatchesAreErrors) {
  Tensor y = Tensor::zeros({4}), whole = Tensor::zeros({4}, DType::i32);
  EXPECT_EQ(error_code_of([&] { add(y, Tensor::zeros({5}), y); }), ErrorCode::invalid_argument);
  EXPECT_EQ(error_code_of([&] { axpy(1, Tensor::zeros({4}, DType::f64), y); }), ErrorCode::invalid_argument);
  EXPECT_EQ(error_code_of([&] { add_bias(y, y); }), ErrorCode::invalid_argument);
  EXPECT_EQ(error_code_of([&] { scale_in_place(whole, 2); }), ErrorCode::unsupported);
  Tensor undefined;
  EXPECT_EQ(error_code_of([&] { fill(undefined, 2); }), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace gradus::kernels
