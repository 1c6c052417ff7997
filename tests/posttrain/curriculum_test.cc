#include "gradus/posttrain/curriculum.h"

#include <gtest/gtest.h>

#include <cmath>

#include "gradus/core/error.h"

namespace gradus::posttrain {
namespace {

std::vector<int> histogram(const Curriculum& curriculum, double progress, int n) {
  std::vector<int> count(16);
  for (int i = 0; i < n; ++i) {
    Rng rng(1, Purpose::test, static_cast<uint64_t>(i));
    ++count[static_cast<size_t>(curriculum.draw(rng, progress))];
  }
  return count;
}

TEST(Curriculum, IsUniformOverTheRangeByDefault) {
  const auto count = histogram(Curriculum({.least = 3, .greatest = 8}), 0.0, 6000);
  for (size_t d = 0; d < count.size(); ++d) EXPECT_NEAR(count[d], d >= 3 && d <= 8 ? 1000 : 0, 120) << d;
}

TEST(Curriculum, RangeWidensInEqualSteps) {
  const Curriculum c({.least = 3, .greatest = 8, .first_greatest = 4, .widened_at = 0.5});
  EXPECT_EQ(c.greatest_at(-1.0), 4);
  EXPECT_EQ(c.greatest_at(0.0), 4);
  EXPECT_EQ(c.greatest_at(0.124), 4);
  EXPECT_EQ(c.greatest_at(0.126), 5);
  EXPECT_EQ(c.greatest_at(0.26), 6);
  EXPECT_EQ(c.greatest_at(0.499), 7);
  EXPECT_EQ(c.greatest_at(0.5), 8);
  EXPECT_EQ(c.greatest_at(2.0), 8);
  EXPECT_EQ(histogram(c, 0.0, 500)[5], 0);
}

TEST(Curriculum, WidenedAtZeroIsTheWholeRange) {
  EXPECT_EQ(Curriculum({.least = 1, .greatest = 5, .first_greatest = 1, .widened_at = 0.0}).greatest_at(0.0), 5);
}

TEST(Curriculum, PrioritisedDrawsWithOneMinusTheSuccessRate) {
  Curriculum c({.least = 1, .greatest = 3, .prioritised = true});
  c.record(1, 1.0);   // weight 0.05, the least
  c.record(2, 0.55);  // weight 0.45; 3 is unseen: weight 1
  const auto count = histogram(c, 1.0, 15000);
  EXPECT_NEAR(count[1], 500, 90);
  EXPECT_NEAR(count[2], 4500, 230);
  EXPECT_NEAR(count[3], 10000, 240);
}

TEST(Curriculum, SuccessRateIsARunningMeanThatStartsAtTheFirstResult) {
  Curriculum c({.least = 1, .greatest = 2, .memory = 0.9});
  EXPECT_EQ(c.success_rate(1), 0.0);
  c.record(1, 0.5);
  EXPECT_DOUBLE_EQ(c.success_rate(1), 0.5);
  c.record(1, 1.0);
  EXPECT_DOUBLE_EQ(c.success_rate(1), 0.55);
  c.record(9, 1.0);  // outside the range
  EXPECT_EQ(c.success_rate(9), 0.0);
}

TEST(Curriculum, RestoredStateDrawsTheSame) {
  const CurriculumConfig config{.least = 3, .greatest = 8, .prioritised = true};
  Curriculum a(config), b(config);
  for (int d = 3; d <= 7; ++d) a.record(d, 1.0 / d);
  b.restore(a.state());
  EXPECT_EQ(a.state(), b.state());
  EXPECT_EQ(histogram(a, 1.0, 200), histogram(b, 1.0, 200));
}

TEST(Curriculum, RefusesBadInput) {
  EXPECT_THROW(Curriculum({.least = 3, .greatest = 2}), Error);
  EXPECT_THROW(Curriculum({.least = 3, .greatest = 5, .first_greatest = 6}), Error);
  EXPECT_THROW(Curriculum({.least = 3, .greatest = 5, .first_greatest = 2}), Error);
  EXPECT_THROW(Curriculum({.widened_at = 1.5}), Error);
  EXPECT_THROW(Curriculum({.memory = 1.0}), Error);
  Curriculum c({.least = 1, .greatest = 2});
  EXPECT_THROW(c.record(1, 1.5), Error);
  EXPECT_THROW(c.record(1, std::nan("")), Error);
  EXPECT_THROW(c.restore(std::vector<double>{0.5}), Error);
  EXPECT_THROW(c.restore(std::vector<double>{0.5, 2.0}), Error);
}

}  // namespace
}  // namespace gradus::posttrain
