#include <bit>
#include <limits>

#include "gradus/kernels/ref/scalar.h"
#include "tests/kernels/grid.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/kernels/exp_test.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "gradus/kernels/cpu/loops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gradus::kernels::HWY_NAMESPACE {
namespace {

void ExpInPlace(float* x, int64_t n) {
  ForVectors(n, [&](int64_t i, auto io) HWY_ATTR { io.Store(Exp(Floats(), io.Load(x + i)), x + i); });
}

void Exp2InPlace(float* x, int64_t n) {
  ForVectors(n, [&](int64_t i, auto io) HWY_ATTR { io.Store(Exp2(Floats(), io.Load(x + i)), x + i); });
}

void ExpUpTo88InPlace(float* x, int64_t n) {
  ForVectors(n, [&](int64_t i, auto io) HWY_ATTR { io.Store(ExpUpTo88(Floats(), io.Load(x + i)), x + i); });
}

}  // namespace
}  // namespace gradus::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradus::kernels {

HWY_EXPORT(ExpInPlace);
HWY_EXPORT(Exp2InPlace);
HWY_EXPORT(ExpUpTo88InPlace);

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// Every 1009th float between the two ends of the finite, normal results, both signs.
std::vector<float> sweep() {
  std::vector<float> xs;
  for (const float end : {ref::ExpConstants::kSmallest, ref::ExpConstants::kLargest}) {
    const auto sign = std::bit_cast<uint32_t>(end) & 0x80000000u;
    for (uint32_t bits = 0; bits <= std::bit_cast<uint32_t>(std::abs(end)); bits += 1009) {
      xs.push_back(std::bit_cast<float>(bits | sign));
    }
    xs.push_back(end);
  }
  return xs;
}

// e^x of each element by the active vector form.
void vector_exp(std::vector<float>& xs) {
  HWY_DYNAMIC_DISPATCH(ExpInPlace)(xs.data(), static_cast<int64_t>(xs.size()));
}
void vector_exp_up_to_88(std::vector<float>& xs) {
  HWY_DYNAMIC_DISPATCH(ExpUpTo88InPlace)(xs.data(), static_cast<int64_t>(xs.size()));
}

TEST(Exp, ErrorIsAtMostTwoUlp) {
  for_each_isa([] {
    double worst = 0;
    for (const float x : sweep()) {
      const double exact = std::exp(static_cast<double>(x));
      const float near = static_cast<float>(exact);
      const double ulp = static_cast<double>(std::nextafter(near, kInf)) - near;
      worst = std::max(worst, std::abs(ref::exp(x) - exact) / ulp);
    }
    EXPECT_LE(worst, 2.0);
  });
}

TEST(Exp, VectorFormsEqualTheScalarFormBitForBit) {
  for_each_isa([] {
    if (active_isa() == Isa::ref) return;
    std::vector<float> xs = sweep();
    for (const float special : {0.0f, -0.0f, -kInf, kInf, -100.0f, 100.0f, -1e30f, 1e30f}) xs.push_back(special);
    std::vector<float> ys = xs;
    vector_exp(ys);
    for (size_t i = 0; i < xs.size(); ++i) {
      ASSERT_EQ(std::bit_cast<uint32_t>(ys[i]), std::bit_cast<uint32_t>(ref::exp(xs[i]))) << "x = " << xs[i];
    }
  });
}

TEST(Exp, TheFormUpTo88EqualsTheScalarFormBitForBit) {
  for_each_isa([] {
    if (active_isa() == Isa::ref) return;
    std::vector<float> xs = sweep();
    for (const float special : {0.0f, -0.0f, -kInf, -100.0f, -1e30f, 88.0f}) xs.push_back(special);
    std::erase_if(xs, [](float x) { return x > 88; });
    std::vector<float> ys = xs;
    vector_exp_up_to_88(ys);
    for (size_t i = 0; i < xs.size(); ++i) {
      ASSERT_EQ(std::bit_cast<uint32_t>(ys[i]), std::bit_cast<uint32_t>(ref::exp(xs[i]))) << "x = " << xs[i];
    }
  });
}

TEST(Exp, IsExactAtZeroAndAtTheInfinities) {
  for_each_isa([] {
    EXPECT_EQ(ref::exp(0.0f), 1.0f);
    EXPECT_EQ(ref::exp(-0.0f), 1.0f);
    EXPECT_EQ(ref::exp(-kInf), 0.0f);
    EXPECT_EQ(ref::exp(kInf), kInf);
    EXPECT_TRUE(std::isnan(ref::exp(std::numeric_limits<float>::quiet_NaN())));
  });
}

TEST(Exp, NaNStaysNaNInEveryVectorForm) {
  for_each_isa([] {
    if (active_isa() == Isa::ref) return;
    std::vector<float> xs(19, std::numeric_limits<float>::quiet_NaN());
    std::vector<float> ys = xs;
    vector_exp(xs);
    vector_exp_up_to_88(ys);
    for (const float y : xs) EXPECT_TRUE(std::isnan(y));
    for (const float y : ys) EXPECT_TRUE(std::isnan(y));
  });
}

TEST(Exp2, EveryFormIsTheScalarOneAndNearTwoToTheX) {
  for_each_isa([] {
    std::vector<float> xs = {0.0f, -0.0f, -126.0f, -126.5f, -1e30f, -kInf, 126.0f};
    for (float x = -127; x < 10; x += 0x1.23p-10f) xs.push_back(x);
    std::vector<float> ys = xs;
    if (active_isa() != Isa::ref) HWY_DYNAMIC_DISPATCH(Exp2InPlace)(ys.data(), static_cast<int64_t>(ys.size()));
    for (size_t i = 0; i < xs.size(); ++i) {
      const float y = ref::exp2(xs[i]);
      if (active_isa() == Isa::ref) ys[i] = y;
      ASSERT_EQ(std::bit_cast<uint32_t>(ys[i]), std::bit_cast<uint32_t>(y)) << xs[i];
      const double exact = std::exp2(std::max(-126.0, static_cast<double>(xs[i])));
      ASSERT_NEAR(y / exact, 1, 4e-6) << xs[i];
    }
    EXPECT_EQ(ref::exp2(0.0f), 1.0f);
    EXPECT_TRUE(std::isnan(ref::exp2(std::numeric_limits<float>::quiet_NaN())));
  });
}

TEST(Exp, RisesAcrossASampleOfTheRange) {
  for_each_isa([] {
    float before = 0;
    for (float x = -90; x < 90; x += 0x1p-7f) {
      const float y = ref::exp(x);
      ASSERT_GE(y, before) << "x = " << x;
      before = y;
    }
  });
}

}  // namespace
}  // namespace gradus::kernels
#endif
