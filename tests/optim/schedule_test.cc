#include "gradus/optim/schedule.h"

#include <gtest/gtest.h>

namespace gradus::optim {
namespace {

TEST(WarmupCosine, RisesLinearlyFromAboveZero) {
  for (int64_t step = 0; step < 9; ++step) {
    EXPECT_DOUBLE_EQ(warmup_cosine(step, 9, 100), static_cast<double>(step + 1) / 10);
  }
  EXPECT_EQ(warmup_cosine(9, 9, 100), 1.0);
}

TEST(WarmupCosine, EndsAtTheFloorAndStaysThere) {
  EXPECT_DOUBLE_EQ(warmup_cosine(100, 10, 100, 0.1), 0.1);
  EXPECT_DOUBLE_EQ(warmup_cosine(1000, 10, 100, 0.1), 0.1);
  EXPECT_DOUBLE_EQ(warmup_cosine(100, 10, 100), 0.0);
}

TEST(WarmupCosine, HalfWayIsTheMean) {
  EXPECT_DOUBLE_EQ(warmup_cosine(60, 20, 100, 0.1), 0.55);
}

TEST(WarmupCosine, FallsAllTheWay) {
  for (int64_t step = 11; step <= 100; ++step) {
    EXPECT_LT(warmup_cosine(step, 10, 100, 0.1), warmup_cosine(step - 1, 10, 100, 0.1)) << step;
  }
}

TEST(WarmupCosine, WithoutWarmupStartsAtOne) {
  EXPECT_EQ(warmup_cosine(0, 0, 100), 1.0);
}

TEST(WarmupCosine, DegenerateTotalsStayInRange) {
  for (const int64_t total : {0, 1, 5}) {
    for (int64_t step = 0; step < 10; ++step) {
      const double x = warmup_cosine(step, 5, total, 0.1);
      EXPECT_GE(x, 0.1);
      EXPECT_LE(x, 1.0);
    }
  }
}

TEST(WarmupConstant, RisesThenStays) {
  EXPECT_DOUBLE_EQ(warmup_constant(0, 2), 1.0 / 3);
  EXPECT_DOUBLE_EQ(warmup_constant(1, 2), 2.0 / 3);
  EXPECT_EQ(warmup_constant(2, 2), 1.0);
  EXPECT_EQ(warmup_constant(1000, 2), 1.0);
  EXPECT_EQ(warmup_constant(0, 0), 1.0);
}

}  // namespace
}  // namespace gradus::optim
