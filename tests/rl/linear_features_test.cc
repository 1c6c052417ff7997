#include "gradus/rl/linear/features.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "tests/core/expect_error.h"
#include "tests/rl/linear_case.h"

namespace gradus::rl {
namespace {

using env::Box;

const Box kSquare{.low = {0, 0}, .high = {1, 1}};

std::vector<double> vector_of(const Features& features, const std::vector<double>& s) {
  const Table row = feature_matrix(features, {s});
  return {row.values().begin(), row.values().end()};
}

TEST(Aggregation, AsManyCellsAsStatesIsATable) {
  const UniformGrid grid;
  const Aggregation features(grid.at.box, 5);
  std::set<size_t> seen;
  for (const auto& point : grid.at.points) {
    const auto phi = vector_of(features, point);
    EXPECT_EQ(std::ranges::count(phi, 1.0), 1);
    EXPECT_EQ(std::ranges::count(phi, 0.0), 24);
    seen.insert(static_cast<size_t>(std::ranges::find(phi, 1.0) - phi.begin()));
  }
  EXPECT_EQ(seen.size(), 25u);
}

// The 1000-state random walk of Sutton & Barto, example 9.1.
TEST(Aggregation, GroupsStatesByTheHundred) {
  const Box line = bounds_of(env::Discrete{.n = 1000});
  const Aggregation features(line, 10);
  Entry e;
  for (int s = 0; s < 1000; ++s) {
    const double state = s;
    features.phi({&state, 1}, {&e, 1});
    ASSERT_EQ(e.index, s / 100) << s;
  }
}

TEST(Polynomial, HasAllMonomialsUpToItsOrder) {
  EXPECT_EQ(Polynomial(kSquare, 1).n(), 3);
  EXPECT_EQ(Polynomial(kSquare, 2).n(), 6);
  EXPECT_EQ(Polynomial(kSquare, 3).n(), 10);
  const double x = 0.5, y = -0.2;  // scaled from [0, 1] to [-1, 1]
  EXPECT_THAT(vector_of(Polynomial(kSquare, 2), {0.75, 0.4}),
              ::testing::Pointwise(::testing::DoubleNear(1e-15), {1.0, x, y, x * x, x * y, y * y}));
}

TEST(Fourier, IsTheCosinesOfItsDefinition) {
  const Fourier features(Box{.low = {0, 0}, .high = {4, 4}}, 2);
  EXPECT_EQ(features.n(), 9);
  const double x = 0.25, y = 0.5, pi = std::acos(-1.0);
  std::vector<double> expected;
  for (int c2 = 0; c2 <= 2; ++c2) {
    for (int c1 = 0; c1 <= 2; ++c1) expected.push_back(std::cos(pi * (c1 * x + c2 * y)));
  }
  EXPECT_THAT(vector_of(features, {1, 2}), ::testing::Pointwise(::testing::DoubleNear(1e-15), expected));
}

// The tile of tiling k by the definition: coordinates in tiles, shifted by k (1, 3) / tilings, modulo a tile.
TEST(TileCoding, IsItsDefinition) {
  const int tilings = 8, tiles = 8;
  const TileCoding features(kSquare, tilings, tiles);
  EXPECT_EQ(features.n(), 8 * 9 * 9);
  std::vector<Entry> out(8);
  Rng rng(1, Purpose::test);
  for (int i = 0; i < 10'000; ++i) {
    const double s[2] = {rng.uniform(), rng.uniform()};
    features.phi(s, out);
    for (int k = 0; k < tilings; ++k) {
      int64_t tile[2];
      for (int d = 0; d < 2; ++d) {
        const int shift = k * (2 * d + 1) % tilings;
        tile[d] = static_cast<int64_t>(std::floor((s[d] * tiles * tilings + shift) / tilings));
      }
      ASSERT_EQ(out[static_cast<size_t>(k)].index, k * 81 + tile[1] * 9 + tile[0]);
      ASSERT_EQ(out[static_cast<size_t>(k)].value, 1);
    }
  }
}

TEST(TileCoding, BordersAndWhatLiesOutsideHaveTiles) {
  const TileCoding features(kSquare, 8, 8);
  std::vector<Entry> out(8), inside(8);
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double x : {-infinity, -1.0, 0.0, 1.0, 2.0, infinity}) {
    const double s[2] = {x, 1}, nearest[2] = {std::clamp(x, 0.0, 1.0), 1};
    features.phi(s, out);
    features.phi(nearest, inside);
    for (size_t k = 0; k < 8; ++k) {
      EXPECT_EQ(out[k].index, inside[k].index);
      EXPECT_GE(out[k].index, 0);
      EXPECT_LT(out[k].index, features.n());
    }
  }
}

TEST(MakeFeatures, RefusesWhatItCannotMake) {
  EXPECT_GRADUS_ERROR(make_features(kSquare, {.kind = "wavelets"}), invalid_argument, "'wavelets'");
  EXPECT_GRADUS_ERROR(make_features(kSquare, {.kind = "fourier", .order = 0}), invalid_argument, "order is 0");
  EXPECT_GRADUS_ERROR(make_features(kSquare, {.kind = "polynomial", .order = -1}), invalid_argument, "order is -1");
  EXPECT_GRADUS_ERROR(make_features(kSquare, {.kind = "tiles", .tiles = 100'000}), invalid_argument, "fewer");
  EXPECT_GRADUS_ERROR(make_features(kSquare, {.kind = "tiles", .tilings = 0}), invalid_argument, "tilings is 0");
  const Box half{.low = {0}, .high = {std::numeric_limits<double>::infinity()}};
  EXPECT_GRADUS_ERROR(make_features(half, {}), invalid_argument, "finite bounds");
}

TEST(Coordinates, AreColumnAndRowOfAPictureElseTheNumber) {
  EXPECT_EQ(UniformGrid().at.points[7], (std::vector<double>{2, 1}));
  const env::FiniteMdp line(
      {.n_states = 3, .n_actions = 1, .outcomes = {{{.next = 1}}, {{.next = 2}}, {{.next = 0}}}, .start = {1, 0, 0}});
  const Coordinates at = coordinates_of(line);
  EXPECT_EQ(at.points[2], std::vector<double>{2});
  EXPECT_EQ(at.box.high, std::vector<double>{2});
}

}  // namespace
}  // namespace gradus::rl
