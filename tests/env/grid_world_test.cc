#include "gradus/env/grid_world.h"

#include <fstream>

#include "tests/core/expect_error.h"
#include "tests/core/temporary_folder.h"
#include "tests/env/outcomes.h"

namespace gradus::env {
namespace {

// Zhao's grid of 5 x 5 (Fig. 3.4), with prices that tell what was paid.
GridWorldConfig priced() {
  return {.reward_boundary = -2, .reward_forbidden = -3, .reward_target = 5, .reward_other = -0.5};
}

// Fig. 3.4: forbidden (2,2) (2,3) (3,3) (4,2) (4,4) (5,2), target (4,3), counted from 1.
bool is_forbidden(int64_t row, int64_t column) {
  for (const auto& [r, c] : {std::pair{2, 2}, {2, 3}, {3, 3}, {4, 2}, {4, 4}, {5, 2}}) {
    if (row == r && column == c) return true;
  }
  return false;
}

// Section 1.3 to 1.5, actions a1 up, a2 right, a3 down, a4 left, a5 stay.
Outcomes zhaos_rule(const GridWorldConfig& c, int64_t s, int64_t a) {
  const int64_t row = s / 5 + 1, column = s % 5 + 1;
  int64_t row2 = row, column2 = column;
  if (a == 0) --row2;
  if (a == 1) ++column2;
  if (a == 2) ++row2;
  if (a == 3) --column2;
  const bool bounces = row2 < 1 || row2 > 5 || column2 < 1 || column2 > 5;
  if (bounces) {
    const double more = c.bounce_pays_cell && is_forbidden(row, column) ? c.reward_forbidden : 0;
    return {{{s, false, c.reward_boundary + more}, 1}};
  }
  const int64_t s2 = (row2 - 1) * 5 + column2 - 1;
  if (is_forbidden(row2, column2)) return {{{c.forbidden_is_wall ? s : s2, false, c.reward_forbidden}, 1}};
  if (row2 == 4 && column2 == 3) return {{{s2, c.target_is_terminal, c.reward_target}, 1}};
  return {{{s2, false, c.reward_other}, 1}};
}

void expect_zhaos_rule(const GridWorldConfig& c) {
  const auto mdp = grid_world(c);
  ASSERT_EQ(mdp->n_states(), 25);
  ASSERT_EQ(mdp->n_actions(), 5);
  expect_outcomes(*mdp, [&](int64_t s, int64_t a) { return zhaos_rule(c, s, a); });
}

TEST(GridWorld, FollowsZhaosRule) {
  expect_zhaos_rule(priced());
  EXPECT_EQ(n_terminal(*grid_world(priced())), 0);
}

TEST(GridWorld, ABounceFromAForbiddenCellMayPayForTheCellToo) {
  GridWorldConfig c = priced();
  c.bounce_pays_cell = true;
  expect_zhaos_rule(c);
}

TEST(GridWorld, ForbiddenCellsMayBeWalls) {
  GridWorldConfig c = priced();
  c.forbidden_is_wall = true;
  expect_zhaos_rule(c);
}

TEST(GridWorld, TheTargetMayBeTheEnd) {
  GridWorldConfig c = priced();
  c.target_is_terminal = true;
  expect_zhaos_rule(c);
  EXPECT_TRUE(grid_world(c)->is_terminal(3 * 5 + 2));
  EXPECT_EQ(n_terminal(*grid_world(c)), 1);
}

TEST(GridWorld, EpisodesBeginAnywhere) {
  const auto mdp = grid_world({});
  for (const double p : mdp->start()) EXPECT_DOUBLE_EQ(p, 1.0 / 25);
}

TEST(GridWorld, EpisodesDoNotBeginAtTheEnd) {
  const auto mdp = grid_world({.target_is_terminal = true});
  for (int64_t s = 0; s < 25; ++s) EXPECT_DOUBLE_EQ(mdp->start()[static_cast<size_t>(s)], s == 17 ? 0 : 1.0 / 24);
}

TEST(GridWorld, EpisodesDoNotBeginInWalls) {
  const auto mdp = grid_world({.forbidden_is_wall = true});
  for (int64_t s = 0; s < 25; ++s) {
    const double p = is_forbidden(s / 5 + 1, s % 5 + 1) ? 0 : 1.0 / 19;
    EXPECT_DOUBLE_EQ(mdp->start()[static_cast<size_t>(s)], p) << s;
  }
}

TEST(GridWorld, EpisodesBeginInTheCellsThatAreMarked) {
  const auto mdp = grid_world({.map = "S..\n..S\n.T.\n"});
  for (int64_t s = 0; s < 9; ++s) EXPECT_EQ(mdp->start()[static_cast<size_t>(s)], s == 0 || s == 5 ? 0.5 : 0) << s;
}

TEST(GridWorld, EpisodesBeginInTheCellOfTheSetting) {
  const auto mdp = grid_world({.map = "S..\n..S\n.T.\n", .start_row = 2, .start_column = 1});
  EXPECT_EQ(mdp->start()[3], 1);
}

TEST(GridWorld, CellsAreNamedByRowAndColumn) {
  const auto mdp = grid_world({});
  EXPECT_EQ(mdp->state_name(17), "(4, 3)");
  EXPECT_EQ(mdp->action_name(static_cast<int64_t>(GridAction::left)), "left");
}

TEST(GridWorld, ThePictureShowsTheMap) {
  const auto mdp = grid_world({.map = "S#\n.T\n"});
  using enum GridPicture::Cell;
  EXPECT_EQ(mdp->picture()->rows, 2);
  EXPECT_EQ(mdp->picture()->columns, 2);
  EXPECT_EQ(mdp->picture()->cells, (std::vector{start, forbidden, plain, target}));
  EXPECT_EQ(mdp->picture()->arrows.size(), 5U);
}

TEST(GridWorld, ReadsAMapFromAFile) {
  const testing::TemporaryFolder folder;
  const std::string file = folder / "maze.txt";
  std::ofstream(file) << "\n..T\r\n.#.\r\n\n";
  const auto mdp = grid_world({.map_file = file});
  EXPECT_EQ(mdp->n_states(), 6);
  EXPECT_EQ(outcomes_of(*mdp, 1, 1).begin()->first, std::tuple(2, false, 1.0));
}

TEST(GridWorld, AWrongCellIsNamedByLineAndColumn) {
  EXPECT_GRADUS_ERROR(grid_world({.map = "...\n.xT\n"}), invalid_argument, "map:2:2: 'x' is not a cell");
}

TEST(GridWorld, AWrongCellOfAFileIsNamedByTheFile) {
  const testing::TemporaryFolder folder;
  const std::string file = folder / "maze.txt";
  std::ofstream(file) << "\n...\n..T\n..?\n";
  EXPECT_GRADUS_ERROR(grid_world({.map_file = file}), invalid_argument, "maze.txt:4:3: '?' is not a cell");
}

TEST(GridWorld, ARowOfAnotherLengthIsNamedByLineAndColumn) {
  EXPECT_GRADUS_ERROR(grid_world({.map = "...\n.T\n"}), invalid_argument,
                      "map:2:3: this row has 2 cells, the first has 3");
  EXPECT_GRADUS_ERROR(grid_world({.map = ".T\n...\n"}), invalid_argument,
                      "map:2:3: this row has 3 cells, the first has 2");
}

TEST(GridWorld, ARowAfterABlankLineIsRefused) {
  EXPECT_GRADUS_ERROR(grid_world({.map = ".T\n\n..\n"}), invalid_argument, "map:3: a row after a blank line");
}

TEST(GridWorld, AnEmptyMapIsRefused) {
  EXPECT_GRADUS_ERROR(grid_world({.map = ""}), invalid_argument, "map: the map is empty");
  EXPECT_GRADUS_ERROR(grid_world({.map = "\n\n"}), invalid_argument, "map: the map is empty");
}

TEST(GridWorld, AMapWithoutATargetIsRefused) {
  EXPECT_GRADUS_ERROR(grid_world({.map = "...\n.#.\n"}), invalid_argument, "map: there is no target (T)");
}

TEST(GridWorld, ATargetBehindWallsIsRefused) {
  EXPECT_GRADUS_ERROR(grid_world({.map = "S#.\n.#T\n", .forbidden_is_wall = true}), invalid_argument,
                      "map: no start reaches the target");
}

TEST(GridWorld, ForbiddenCellsThatAreNotWallsLetThrough) {
  EXPECT_NO_THROW(grid_world({.map = "S#.\n.#T\n"}));
}

TEST(GridWorld, AStartOutsideIsRefused) {
  EXPECT_GRADUS_ERROR(grid_world({.start_row = 6, .start_column = 1}), invalid_argument,
                      "grid world: the start (6, 1) is outside of 5 rows x 5 columns");
  EXPECT_GRADUS_ERROR(grid_world({.start_row = 2}), invalid_argument, "the start (2, 0) is outside");
}

TEST(GridWorld, AStartAtTheEndIsRefused) {
  EXPECT_GRADUS_ERROR(grid_world({.target_is_terminal = true, .start_row = 4, .start_column = 3}), invalid_argument,
                      "an episode may start in (4, 3), where all ends");
}

TEST(GridWorld, AStartInAWallIsRefused) {
  EXPECT_GRADUS_ERROR(grid_world({.forbidden_is_wall = true, .start_row = 2, .start_column = 2}), invalid_argument,
                      "grid world: the start (2, 2) is in a wall");
}

TEST(GridWorld, AMapFileThatIsMissingIsNotFound) {
  EXPECT_GRADUS_ERROR(grid_world({.map_file = "/nowhere/maze.txt"}), not_found, "/nowhere/maze.txt");
}

}  // namespace
}  // namespace gradus::env
