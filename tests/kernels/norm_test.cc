#include "gradus/kernels/norm.h"

#include "gradus/kernels/ref/norm.h"
#include "tests/kernels/grid.h"

namespace gradus::kernels {
namespace {

struct Forward {
  Tensor y, inv_rms;
};

Forward forward(const Tensor& x, const Tensor& gain, double eps = 1e-6) {
  Forward f{Tensor::empty(x.shape(), x.dtype()), Tensor::empty({x.dim(0)}, x.dtype())};
  rms_norm(x, gain, eps, f.y, f.inv_rms);
  return f;
}

TEST(RmsNorm, VectorKernelsEqualTheReferenceBitForBit) {
  for_each_isa([] {
    for (const int64_t rows : kSizes) {
      for (const int64_t cols : {1, 2, 7, 16, 31, 64, 257}) {
        const Tensor x = random_tensor({rows, cols}, DType::f32, 1), gain = random_tensor({cols}, DType::f32, 2);
        Tensor y = Tensor::zeros(x.shape()), inv_rms = Tensor::zeros({rows});
        for (int64_t r = 0; r < rows; ++r) {
          ref::rms_norm<float>({.x = x.data<float>() + r * cols,
                                .gain = gain.data<float>(),
                                .eps = 1e-6f,
                                .cols = cols,
                                .y = y.data<float>() + r * cols,
                                .inv_rms = inv_rms.data<float>() + r});
        }
        const Forward f = forward(x, gain);
        EXPECT_TRUE(same_bits(f.y, y));
        EXPECT_TRUE(same_bits(f.inv_rms, inv_rms));
      }
    }
  });
}

TEST(RmsNorm, BackwardEqualsTheReferenceInChunksOfRows) {
  for_each_isa([] {
    for (const int64_t rows : kSizes) {
      for (const int64_t cols : {1, 7, 64, 257}) {
        const Tensor x = random_tensor({rows, cols}, DType::f32, 1), gain = random_tensor({cols}, DType::f32, 2);
        const Tensor d_y = random_tensor({rows, cols}, DType::f32, 3), inv_rms = forward(x, gain).inv_rms;
        Tensor d_x = Tensor::zeros(x.shape()), d_gain = random_tensor({cols}, DType::f32, 4);
        Tensor d_x_ref = Tensor::zeros(x.shape()), d_gain_ref = d_gain.clone(), partial = Tensor::zeros({cols});
        for (int64_t begin = 0; begin < rows; begin += kNormRowChunk) {
          partial.fill_zero();
          for (int64_t r = begin; r < std::min(rows, begin + kNormRowChunk); ++r) {
            ref::rms_norm_backward<float>({.x = x.data<float>() + r * cols,
                                           .gain = gain.data<float>(),
                                           .inv_rms = inv_rms.data<float>()[r],
                                           .d_y = d_y.data<float>() + r * cols,
                                           .cols = cols,
                                           .d_x = d_x_ref.data<float>() + r * cols,
                                           .d_gain = partial.data<float>()});
          }
          for (int64_t j = 0; j < cols; ++j) d_gain_ref.data<float>()[j] += partial.data<float>()[j];
        }
        rms_norm_backward(x, gain, inv_rms, d_y, d_x, d_gain);
        EXPECT_TRUE(same_bits(d_x, d_x_ref));
        EXPECT_TRUE(same_bits(d_gain, d_gain_ref));
      }
    }
  });
}

TEST(RmsNorm, EqualsThePlainFormulaInDouble) {
  const Tensor x = random_tensor({5, 31}, DType::f64, 1), gain = random_tensor({31}, DType::f64, 2);
  const Forward f = forward(x, gain, 1e-5);
  for (int64_t r = 0; r < 5; ++r) {
    double squares = 0;
    for (int64_t j = 0; j < 31; ++j) squares += std::pow(x.data<double>()[r * 31 + j], 2);
    for (int64_t j = 0; j < 31; ++j) {
      const double expected = gain.data<double>()[j] * x.data<double>()[r * 31 + j] / std::sqrt(squares / 31 + 1e-5);
      EXPECT_NEAR(f.y.data<double>()[r * 31 + j], expected, 1e-14 * (1 + std::abs(expected)));
    }
  }
}

TEST(RmsNorm, GradientsEqualCentralDifferences) {
  Tensor x = random_tensor({3, 19}, DType::f64, 1), gain = random_tensor({19}, DType::f64, 2);
  const Tensor w = random_tensor({3, 19}, DType::f64, 3);
  Tensor d_x = Tensor::empty({3, 19}, DType::f64), d_gain = Tensor::zeros({19}, DType::f64);
  rms_norm_backward(x, gain, forward(x, gain).inv_rms, w, d_x, d_gain);
  const auto loss = [&] { return weighted_sum(forward(x, gain).y, w); };
  expect_gradient(x, d_x, loss);
  expect_gradient(gain, d_gain, loss);
}

TEST(RmsNorm, ARowDoesNotDependOnTheOtherRows) {
  const Tensor x = random_tensor({300, 96}, DType::f32, 1), gain = random_tensor({96}, DType::f32, 2);
  const Tensor together = forward(x, gain).y;
  for (const int64_t r : {0, 1, 170, 299}) {
    EXPECT_TRUE(same_bits(forward(x.rows(r, r + 1), gain).y, together.rows(r, r + 1)));
  }
}

TEST(RmsNorm, GradientsDoNotDependOnTheThreadCount) {
  const Tensor x = random_tensor({1000, 96}, DType::f32, 1), gain = random_tensor({96}, DType::f32, 2);
  const Tensor d_y = random_tensor({1000, 96}, DType::f32, 3), inv_rms = forward(x, gain).inv_rms;
  std::vector<Tensor> d_gains;
  for_1_2_3_threads([&] {
    Tensor d_x = Tensor::empty(x.shape());
    d_gains.push_back(Tensor::zeros({96}));
    rms_norm_backward(x, gain, inv_rms, d_y, d_x, d_gains.back());
    EXPECT_TRUE(same_bits(d_gains.back(), d_gains.front()));
  });
}

TEST(RmsNorm, MismatchesAreInvalidArguments) {
  const Tensor x = Tensor::zeros({4, 8}), gain = Tensor::zeros({8});
  Tensor y = Tensor::zeros({4, 8}), inv_rms = Tensor::zeros({4}), small = Tensor::zeros({4, 7});
  EXPECT_EQ(error_code_of([&] { rms_norm(x, gain, 1e-6, small, inv_rms); }), ErrorCode::invalid_argument);
  EXPECT_EQ(error_code_of([&] { rms_norm(x, gain, 0, y, inv_rms); }), ErrorCode::invalid_argument);
  EXPECT_EQ(error_code_of([&] { rms_norm(x, Tensor{}, 1e-6, y, inv_rms); }), ErrorCode::invalid_argument);
  EXPECT_EQ(error_code_of([&] { rms_norm(x, Tensor::zeros({8}, DType::f64), 1e-6, y, inv_rms); }),
            ErrorCode::invalid_argument);
}

TEST(RmsNorm, OtherDtypesAreErrors) {
  const Tensor half = Tensor::zeros({4, 8}, DType::bf16), whole = Tensor::zeros({4, 8}, DType::i32);
  Tensor y = Tensor::zeros({4, 8}, DType::bf16), inv_rms = Tensor::zeros({4}), n = Tensor::zeros({4, 8}, DType::i32);
  EXPECT_EQ(error_code_of([&] { rms_norm(half, Tensor::zeros({8}, DType::bf16), 1e-6, y, inv_rms); }),
            ErrorCode::invalid_argument);
  EXPECT_EQ(error_code_of([&] { rms_norm(whole, Tensor::zeros({8}), 1e-6, n, inv_rms); }), ErrorCode::unsupported);
}

}  // namespace
}  // namespace gradus::kernels
