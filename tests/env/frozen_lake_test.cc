#include "gradus/env/frozen_lake.h"

#include <algorithm>
#include <string>

#include "tests/core/expect_error.h"
#include "tests/env/outcomes.h"

namespace gradus::env {
namespace {

// Gymnasium's maps, row by row.
const std::vector<std::string> k4x4 = {"SFFF", "FHFH", "FFFH", "HFFG"};
const std::vector<std::string> k8x8 = {"SFFFFFFF", "FFFFFFFF", "FFFHFFFF", "FFFFFHFF",
                                       "FFFHFFFF", "FHHFFFHF", "FHFFHFHF", "FFFHFFFG"};

// Gymnasium's inc(row, col, a) and update_probability_matrix; 0 left, 1 down, 2 right, 3 up.
Outcomes gymnasiums_move(const std::vector<std::string>& map, int64_t s, int64_t a, double probability) {
  const auto n = static_cast<int64_t>(map.size());
  int64_t row = s / n, column = s % n;
  if (a == 0) column = std::max<int64_t>(column - 1, 0);
  if (a == 1) row = std::min<int64_t>(row + 1, n - 1);
  if (a == 2) column = std::min<int64_t>(column + 1, n - 1);
  if (a == 3) row = std::max<int64_t>(row - 1, 0);
  const char letter = map[static_cast<size_t>(row)][static_cast<size_t>(column)];
  return {{{row * n + column, letter == 'G' || letter == 'H', letter == 'G' ? 1.0 : 0.0}, probability}};
}

void expect_gymnasiums_rule(const FrozenLakeConfig& c, const std::vector<std::string>& map) {
  const auto mdp = frozen_lake(c);
  ASSERT_EQ(mdp->n_states(), static_cast<int64_t>(map.size() * map.size()));
  ASSERT_EQ(mdp->n_actions(), 4);
  expect_outcomes(*mdp, [&](int64_t s, int64_t a) {
    if (!c.is_slippery) return gymnasiums_move(map, s, a, 1);
    Outcomes all;
    for (const int64_t b : {(a + 3) % 4, a, (a + 1) % 4}) {
      for (const auto& [outcome, p] : gymnasiums_move(map, s, b, 1.0 / 3)) all[outcome] += p;
    }
    return all;
  });
}

TEST(FrozenLake, SlipsAsGymnasiumsDoes) {
  expect_gymnasiums_rule({.map = "4x4"}, k4x4);
  expect_gymnasiums_rule({.map = "8x8"}, k8x8);
}

TEST(FrozenLake, WithoutSlippingAMoveGoesWhereItShould) {
  expect_gymnasiums_rule({.map = "4x4", .is_slippery = false}, k4x4);
  expect_gymnasiums_rule({.map = "8x8", .is_slippery = false}, k8x8);
}

TEST(FrozenLake, HolesAndTheGoalAreTheEnd) {
  const auto mdp = frozen_lake({});
  for (int64_t s = 0; s < 16; ++s) {
    const char letter = k4x4[static_cast<size_t>(s / 4)][static_cast<size_t>(s % 4)];
    EXPECT_EQ(mdp->is_terminal(s), letter == 'H' || letter == 'G') << s;
  }
}

TEST(FrozenLake, BeginsInTheUpperLeftCorner) {
  EXPECT_EQ(frozen_lake({})->start()[0], 1);
  EXPECT_EQ(frozen_lake({.map = "8x8"})->start()[0], 1);
}

TEST(FrozenLake, AMapOfOnesOwnMayHaveSeveralStarts) {
  const auto mdp = frozen_lake({.map = "SFS\nFHG\n"});
  ASSERT_EQ(mdp->n_states(), 6);
  EXPECT_EQ(mdp->start()[0], 0.5);
  EXPECT_EQ(mdp->start()[2], 0.5);
}

TEST(FrozenLake, TheTimeLimitIsGymnasiums) {
  EXPECT_EQ(frozen_lake_steps({.map = "4x4"}), 100);
  EXPECT_EQ(frozen_lake_steps({.map = "8x8"}), 200);
}

TEST(FrozenLake, AWrongCellIsNamedByLineAndColumn) {
  EXPECT_GRADUS_ERROR(frozen_lake({.map = "SFF\nFxG\n"}), invalid_argument, "frozen lake:2:2: 'x' is not a cell");
}

TEST(FrozenLake, ARowOfAnotherLengthIsNamedByLineAndColumn) {
  EXPECT_GRADUS_ERROR(frozen_lake({.map = "SFF\nFG\n"}), invalid_argument, "frozen lake:2:3: this row has 2 cells");
}

TEST(FrozenLake, AMapWithoutAStartOrAGoalIsRefused) {
  EXPECT_GRADUS_ERROR(frozen_lake({.map = "FFG\n"}), invalid_argument, "the map needs a start (S) and a goal (G)");
  EXPECT_GRADUS_ERROR(frozen_lake({.map = "SFF\n"}), invalid_argument, "the map needs a start (S) and a goal (G)");
}

}  // namespace
}  // namespace gradus::env
