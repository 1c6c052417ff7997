#include "gradus/env/space.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

namespace gradus::env {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

bool holds(const Space& space, std::vector<double> element) {
  return contains(space, element);
}

TEST(Space, ADiscreteElementIsOneNumber) {
  EXPECT_EQ(size_of(Discrete{.n = 7}), 1);
}

TEST(Space, ABoxElementIsANumberPerDimension) {
  EXPECT_EQ(size_of(Box{.low = {0, 0, 0}, .high = {1, 1, 1}}), 3);
}

TEST(Space, ADiscreteSpaceHoldsItsIntegersAndNothingElse) {
  const Space space = Discrete{.n = 3, .start = -1};
  for (const double x : {-1.0, 0.0, 1.0}) EXPECT_TRUE(holds(space, {x})) << x;
  for (const double x : {-2.0, 2.0, 0.5, kNan, kInf, -kInf}) EXPECT_FALSE(holds(space, {x})) << x;
}

TEST(Space, ABoxHoldsItsBounds) {
  const Space space = Box{.low = {-1, 0}, .high = {1, kInf}};
  EXPECT_TRUE(holds(space, {-1, 0}));
  EXPECT_TRUE(holds(space, {1, 1e300}));
  EXPECT_FALSE(holds(space, {1.0000001, 0}));
  EXPECT_FALSE(holds(space, {0, -1e-300}));
}

TEST(Space, ABoxHoldsNoNan) {
  EXPECT_FALSE(holds(Box{.low = {-kInf}, .high = {kInf}}, {kNan}));
}

TEST(Space, AnElementOfAnotherLengthIsNotHeld) {
  EXPECT_FALSE(holds(Discrete{.n = 3}, {}));
  EXPECT_FALSE(holds(Discrete{.n = 3}, {1, 1}));
  EXPECT_FALSE(holds(Box{.low = {0, 0}, .high = {1, 1}}, {0.5}));
}

TEST(Space, ADiscreteSampleIsEachElementEquallyOften) {
  const Space space = Discrete{.n = 4, .start = 10};
  Rng rng(1, Purpose::test);
  std::array<int, 4> counts{};
  constexpr int kDraws = 40000;
  for (int i = 0; i < kDraws; ++i) {
    std::array<double, 1> x{};
    sample(space, rng, x);
    ASSERT_TRUE(contains(space, x));
    ++counts[static_cast<size_t>(x[0] - 10)];
  }
  for (const int n : counts) EXPECT_NEAR(n, kDraws / 4, 5 * std::sqrt(kDraws * 0.25 * 0.75));
}

// Mean and variance of what is drawn between two bounds, one, and none: uniform, exponential, normal.
TEST(Space, ABoxSampleIsDistributedAsGymnasiumsIs) {
  const Space space = Box{.low = {-1, 3, -kInf, -kInf}, .high = {5, kInf, 3, kInf}};
  constexpr std::array<double, 4> kMean = {2, 4, 2, 0}, kVariance = {3, 1, 1, 1};
  Rng rng(2, Purpose::test);
  constexpr int kDraws = 100000;
  std::array<double, 4> sum{}, squares{};
  for (int i = 0; i < kDraws; ++i) {
    std::array<double, 4> x{};
    sample(space, rng, x);
    ASSERT_TRUE(contains(space, x));
    for (size_t d = 0; d < 4; ++d) {
      sum[d] += x[d];
      squares[d] += (x[d] - kMean[d]) * (x[d] - kMean[d]);
    }
  }
  for (size_t d = 0; d < 4; ++d) {
    EXPECT_NEAR(sum[d] / kDraws, kMean[d], 0.03) << d;
    EXPECT_NEAR(squares[d] / kDraws, kVariance[d], 0.05) << d;
  }
}

TEST(Space, TextNamesTheKindAndTheSize) {
  EXPECT_EQ(to_string(Discrete{.n = 5}), "Discrete(5)");
  EXPECT_EQ(to_string(Discrete{.n = 5, .start = 1}), "Discrete(5, start 1)");
  EXPECT_EQ(to_string(Box{.low = {0, 0}, .high = {1, 1}}), "Box(2)");
}

}  // namespace
}  // namespace gradus::env
