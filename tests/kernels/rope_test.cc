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

TEST(Rope, LinearScalingDividesPositions) {
  const RopeScaling linear{.type = RopeType::linear, .factor = 4};
  const RopeTable plain = make_rope_table(100, 16, 10000, DType::f64);
  const RopeTable slow = make_rope_table(397, 16, 10000, DType::f64, linear);
  for (int64_t p = 0; p < 100; ++p) {
    for (int64_t i = 0; i < 8; ++i)
      EXPECT_NEAR(slow.cos.data<double>()[4 * p * 8 + i], plain.cos.data<double>()[p * 8 + i], 1e-12);
  }
}

// Fast pairs keep their frequency, slow ones are divided by the factor, and between them it falls from one to the
// other.
void expect_fast_kept_and_slow_divided(const RopeScaling& scaling, double theta) {
  const std::vector<double> plain = rope_frequencies(64, theta).per_position;
  const std::vector<double> got = rope_frequencies(64, theta, scaling).per_position;
  EXPECT_EQ(got.front(), plain.front());
  EXPECT_NEAR(got.back(), plain.back() / scaling.factor, 1e-15);
  bool between = false;
  for (size_t i = 0; i < got.size(); ++i) {
    const double ratio = plain[i] / got[i];
    EXPECT_GE(ratio, 1 - 1e-12);
    EXPECT_LE(ratio, scaling.factor + 1e-12);
    if (i > 0) {
      EXPECT_GE(ratio, plain[i - 1] / got[i - 1] - 1e-12);
    }
    between = between || (ratio > 1.001 && ratio < scaling.factor - 0.001);
  }
  EXPECT_TRUE(between);
}

TEST(Rope, Llama3AndYarnDivideTheSlowFrequenciesOnly) {
  expect_fast_kept_and_slow_divided({.type = RopeType::llama3, .factor = 8, .original_positions = 8192}, 5e5);
  expect_fast_kept_and_slow_divided({.type = RopeType::yarn, .factor = 4, .original_positions = 32768}, 1e6);
}

TEST(Rope, Llama3BoundsAreWavelengths) {
  const RopeScaling s{.type = RopeType::llama3, .factor = 8, .original_positions = 8192};
  const std::vector<double> plain = rope_frequencies(128, 5e5).per_position;
  const std::vector<double> got = rope_frequencies(128, 5e5, s).per_position;
  for (size_t i = 0; i < got.size(); ++i) {
    const double wavelength = 2 * M_PI / plain[i];
    if (wavelength < 8192.0 / 4) {
      EXPECT_EQ(got[i], plain[i]);
    } else if (wavelength > 8192.0) {
      EXPECT_NEAR(got[i], plain[i] / 8, 1e-18);
    } else {
      EXPECT_LT(got[i], plain[i]);
      EXPECT_GT(got[i], plain[i] / 8);
    }
  }
}

TEST(Rope, YarnMultipliesTheTableByItsAttentionFactor) {
  RopeScaling s{.type = RopeType::yarn, .factor = 4, .original_positions = 128};
  EXPECT_NEAR(rope_frequencies(16, 1e4, s).amplitude, 0.1 * std::log(4.0) + 1, 1e-15);
  s.attention_factor = 1.5;
  const RopeTable table = make_rope_table(3, 16, 1e4, DType::f64, s);
  for (int64_t i = 0; i < table.cos.numel(); ++i)
    EXPECT_NEAR(std::hypot(table.cos.data<double>()[i], table.sin.data<double>()[i]), 1.5, 1e-14);
}

TEST(Rope, GradientWithAnAmplitudeEqualsCentralDifferences) {
  const RopeScaling s{.type = RopeType::yarn, .factor = 4, .original_positions = 16, .attention_factor = 1.5};
  const RopeTable table = make_rope_table(40, 8, 100, DType::f64, s);
  const std::vector<int32_t> positions = {0, 39};
  Tensor x = random_tensor({2, 8}, DType::f64, 1);
  const Tensor w = random_tensor({2, 8}, DType::f64, 2);
  Tensor d_x = w.clone();
  rope_backward(d_x, positions, 1, table);
  expect_gradient(x, d_x, [&] {
    Tensor y = x.clone();
    rope(y, positions, 1, table);
    return weighted_sum(y, w);
  });
}

TEST(Rope, ALongerTableBeginsWithTheShorterOne) {
  const RopeScaling s{.type = RopeType::llama3, .factor = 8, .original_positions = 64};
  const RopeTable shorter = make_rope_table(30, 16, 5e5, DType::f32, s),
                  longer = make_rope_table(90, 16, 5e5, DType::f32, s);
  EXPECT_TRUE(same_bits(longer.cos.rows(0, 30), shorter.cos));
  EXPECT_TRUE(same_bits(longer.sin.rows(0, 30), shorter.sin));
}

TEST(Rope, ImpossibleScalingsAreInvalid) {
  const auto code = [](const RopeScaling& s) { return error_code_of([&] { rope_frequencies(16, 1e4, s); }); };
  const RopeScaling yarn{.type = RopeType::yarn, .factor = 4, .original_positions = 128};
  const RopeScaling llama3{.type = RopeType::llama3, .factor = 4, .original_positions = 128};
  for (RopeScaling s : {yarn, llama3}) {
    s.factor = 0;
    EXPECT_EQ(code(s), ErrorCode::invalid_argument);
    s.factor = INFINITY;
    EXPECT_EQ(code(s), ErrorCode::invalid_argument);
    s.factor = 4, s.original_positions = 0;
    EXPECT_EQ(code(s), ErrorCode::invalid_argument);
  }
  RopeScaling s = yarn;
  s.beta_fast = 0.5;
  EXPECT_EQ(code(s), ErrorCode::invalid_argument);
  s = llama3, s.high_freq_factor = 1;
  EXPECT_EQ(code(s), ErrorCode::invalid_argument);
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
