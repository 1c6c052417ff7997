#include "gradus/kernels/rope.h"

#include "gradus/kernels/ref/rope.h"
#include "tests/kernels/grid.h"

namespace gradus::kernels {
namespace {

constexpr int64_t kMaxPositions = 300;

TEST(Rope, VectorKernelEqualsTheReferenceBitForBit) {
  for_each_isa([] {
    for (const int64_t rows : kSizes) {
      for (const int64_t half : {1, 4, 7, 16, 32}) {
        const RopeTable table = make_rope_table(kMaxPositions, 2 * half, 10000);
        const std::vector<int32_t> positions = random_ids(rows, kMaxPositions, 1);
        Tensor x = random_tensor({rows, 3 * 2 * half}, DType::f32, 2), x_ref = x.clone();
        rope(x, positions, 3, table);
        for (int64_t r = 0; r < rows; ++r) {
          const int64_t offset = positions[static_cast<size_t>(r)] * half;
          ref::rope_row<float>({.x = x_ref.data<float>() + r * 6 * half,
                                .cos = table.cos.data<float>() + offset,
                                .sin = table.sin.data<float>() + offset,
                                .sign = 1,
                                .heads = 3,
                                .half = half});
        }
        EXPECT_TRUE(same_bits(x, x_ref));
      }
    }
  });
}

TEST(Rope, RotatesElementIWithElementIPlusHalf) {
  const RopeTable table = make_rope_table(8, 4, 100, DType::f64);  // frequencies 1 and 1/10
  const double before[] = {1, 2, 3, 4};
  Tensor x = Tensor::from<double>(before, {1, 4});
  const int32_t position = 5;
  rope(x, {&position, 1}, 1, table);
  EXPECT_NEAR(x.data<double>()[0], 1 * std::cos(5.0) - 3 * std::sin(5.0), 1e-14);
  EXPECT_NEAR(x.data<double>()[1], 2 * std::cos(0.5) - 4 * std::sin(0.5), 1e-14);
  EXPECT_NEAR(x.data<double>()[2], 3 * std::cos(5.0) + 1 * std::sin(5.0), 1e-14);
  EXPECT_NEAR(x.data<double>()[3], 4 * std::cos(0.5) + 2 * std::sin(0.5), 1e-14);
}

TEST(Rope, PositionZeroChangesNothing) {
  const RopeTable table = make_rope_table(1, 32, 10000);
  Tensor x = random_tensor({1, 64}, DType::f32, 1);
  const Tensor before = x.clone();
  const int32_t position = 0;
  rope(x, {&position, 1}, 2, table);
  EXPECT_TRUE(same_bits(x, before));
}

TEST(Rope, BackwardIsTheInverseRotation) {
  const RopeTable table = make_rope_table(kMaxPositions, 16, 10000, DType::f64);
  const std::vector<int32_t> positions = random_ids(9, kMaxPositions, 1);
  Tensor x = random_tensor({9, 48}, DType::f64, 2);
  const Tensor before = x.clone();
  rope(x, positions, 3, table);
  rope_backward(x, positions, 3, table);
  for (int64_t i = 0; i < x.numel(); ++i) EXPECT_NEAR(x.data<double>()[i], before.data<double>()[i], 1e-14);
}

TEST(Rope, GradientEqualsCentralDifferences) {
  const RopeTable table = make_rope_table(kMaxPositions, 6, 10000, DType::f64);
  const std::vector<int32_t> positions = {0, 3, 299};
  Tensor x = random_tensor({3, 12}, DType::f64, 1);
  const Tensor w = random_tensor({3, 12}, DType::f64, 2);
  Tensor d_x = w.clone();
  rope_backward(d_x, positions, 2, table);
  expect_gradient(x, d_x, [&] {
    Tensor y = x.clone();
    rope(y, positions, 2, table);
    return weighted_sum(y, w);
  });
}

TEST(Rope, WrongArgumentsAreInvalid) {
  const RopeTable table = make_rope_table(8, 4, 10000);
  Tensor x = Tensor::zeros({2, 8});
  const auto code = [&](std::vector<int32_t> positions, int64_t heads) {
    return error_code_of([&] { rope(x, positions, heads, table); });
  };
  EXPECT_EQ(code({0, 8}, 2), ErrorCode::invalid_argument);   // position outside the table
  EXPECT_EQ(code({0, -1}, 2), ErrorCode::invalid_argument);  // negative position
  EXPECT_EQ(code({0}, 2), ErrorCode::invalid_argument);      // one position for two rows
  EXPECT_EQ(code({0, 1}, 3), ErrorCode::invalid_argument);   // 3 heads of 4 are not 8
  EXPECT_EQ(error_code_of([] { make_rope_table(8, 5, 10000); }), ErrorCode::invalid_argument);
  EXPECT_EQ(error_code_of([] { make_rope_table(8, 4, 0); }), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace gradus::kernels
