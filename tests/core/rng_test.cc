#include "gradus/core/rng.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "tests/core/expect_error.h"

namespace gradus {
namespace {

using Words = std::array<uint32_t, 4>;

// Known answers of the Random123 distribution (kat_vectors, philox4x32 10).
TEST(Philox, GivesTheKnownAnswers) {
  constexpr uint32_t kOnes = 0xFFFFFFFFu;
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Words{0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8}));
  EXPECT_EQ(philox4x32({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (Words{0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD}));
  EXPECT_EQ(philox4x32({0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344}, {0xA4093822, 0x299F31D0}),
            (Words{0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1}));
}

TEST(Rng, TheSameNameGivesTheSameStream) {
  Rng a(7, Purpose::sample, 3, 9), b(7, Purpose::sample, 3, 9);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(a.bits32(), b.bits32());
}

TEST(Rng, EveryPartOfTheNameChangesTheStream) {
  constexpr uint64_t kFar = uint64_t{1} << 40;
  std::vector<Rng> streams;
  for (uint64_t seed : {uint64_t{0}, uint64_t{1}, kFar}) {
    for (Purpose purpose : {Purpose::init, Purpose::data, Purpose::test}) {
      for (uint64_t index : {uint64_t{0}, uint64_t{1}, kFar}) {
        for (uint32_t position : {0u, 1u, 1u << 31}) streams.emplace_back(seed, purpose, index, position);
      }
    }
  }
  std::set<uint64_t> first;
  for (Rng& rng : streams) first.insert(rng.bits64());
  EXPECT_EQ(first.size(), streams.size());
}

TEST(Rng, FirstBlockIsPhiloxOfTheName) {
  Rng rng(0x1122334455667788, Purpose::held_out, 0xCCDD00000001, 42);
  const Words want = philox4x32({0, 42, 0x00000001, 5u << 16 | 0xCCDD}, {0x55667788, 0x11223344});
  for (uint32_t word : want) EXPECT_EQ(rng.bits32(), word);
}

TEST(Rng, UniformFillsTheUnitInterval) {
  Rng rng(1, Purpose::test);
  double sum = 0, least = 1, most = 0;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    const double u = rng.uniform();
    const float f = rng.uniform_f32();
    ASSERT_TRUE(u >= 0 && u < 1 && f >= 0 && f < 1);
    sum += u;
    least = std::min(least, u);
    most = std::max(most, u);
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 0.01);
  EXPECT_LT(least, 0.001);
  EXPECT_GT(most, 0.999);
}

TEST(Rng, BelowIsInRangeAndEven) {
  Rng rng(2, Purpose::test);
  std::array<int, 7> count{};
  for (int i = 0; i < 14000; ++i) ++count.at(static_cast<size_t>(rng.below(7)));
  for (int c : count) EXPECT_NEAR(c, 2000, 200);
  EXPECT_EQ(rng.below(1), 0);
  for (int i = 0; i < 100; ++i) EXPECT_LT(rng.below(INT64_MAX), INT64_MAX);
  EXPECT_GRADUS_ERROR(rng.below(0), invalid_argument, "below 0");
}

TEST(Rng, AStreamIsLongEnoughForALargeMatrix) {
  Rng rng(4, Purpose::test);
  uint32_t any = 0;
  for (int i = 0; i < (1 << 20); ++i) any |= rng.bits32();
  EXPECT_EQ(any, UINT32_MAX);
}

TEST(Rng, NormalHasMeanZeroAndVarianceOne) {
  double sum = 0, squares = 0, fourth = 0;
  constexpr int kDraws = 40000;
  Rng rng(3, Purpose::test);
  for (int i = 0; i < kDraws; ++i) {
    const double x = rng.normal();
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0, 0.02);
  EXPECT_NEAR(squares / kDraws, 1, 0.03);
  EXPECT_NEAR(fourth / kDraws, 3, 0.2);
}

}  // namespace
}  // namespace gradus
