#include "gradus/env/windy_grid_world.h"

#include <algorithm>
#include <string>

#include "tests/env/outcomes.h"

namespace gradus::env {
namespace {

// Example 6.5: 7 rows, 10 columns, start (3, 0), goal (3, 7) from 0; below the columns the wind 0 0 0 1 1 1 2 2 1 0.
const std::string kWind = "0001112210";
constexpr int64_t kGoal = 37;

int64_t down_of(const std::string& action) {
  return (action.starts_with("down") ? 1 : 0) - (action.starts_with("up") ? 1 : 0);
}
int64_t right_of(const std::string& action) {
  return (action.ends_with("right") ? 1 : 0) - (action.ends_with("left") ? 1 : 0);
}

Outcomes books_move(int64_t s, const std::string& action, int64_t wind, double probability) {
  int64_t row = s / 10 + down_of(action) - wind, column = s % 10 + right_of(action);
  row = row < 0 ? 0 : row > 6 ? 6 : row;
  column = column < 0 ? 0 : column > 9 ? 9 : column;
  const int64_t s2 = row * 10 + column;
  return {{{s2, s2 == kGoal, -1}, probability}};
}

int64_t wind_of(int64_t s) {
  return kWind[static_cast<size_t>(s % 10)] - '0';
}

void expect_books_rule(const WindyGridWorldConfig& c) {
  const auto mdp = windy_grid_world(c);
  ASSERT_EQ(mdp->n_states(), 70);
  expect_outcomes(*mdp, [&](int64_t s, int64_t a) { return books_move(s, mdp->action_name(a), wind_of(s), 1); });
}

std::vector<std::string> actions_of(const WindyGridWorldConfig& c) {
  const auto mdp = windy_grid_world(c);
  std::vector<std::string> names;
  for (int64_t a = 0; a < mdp->n_actions(); ++a) names.push_back(mdp->action_name(a));
  return names;
}

TEST(WindyGridWorld, FollowsTheBooksRule) {
  expect_books_rule({});
}

TEST(WindyGridWorld, KingsMovesFollowTheBooksRule) {
  expect_books_rule({.kings_moves = true});
  expect_books_rule({.kings_moves = true, .stay = true});
}

TEST(WindyGridWorld, HasTheActionsOfTheExercises) {
  EXPECT_EQ(actions_of({}), (std::vector<std::string>{"up", "right", "down", "left"}));
  EXPECT_EQ(actions_of({.stay = true}), (std::vector<std::string>{"up", "right", "down", "left", "stay"}));
  EXPECT_EQ(actions_of({.kings_moves = true, .stay = true}),
            (std::vector<std::string>{"up", "right", "down", "left", "up-right", "down-right", "down-left", "up-left",
                                      "stay"}));
}

// Exercise 6.10: a third of the time exactly these values, a third one above, a third one below; where there is wind.
TEST(WindyGridWorld, AStochasticWindIsOneStrongerOrWeakerAThirdOfTheTimeEach) {
  const auto mdp = windy_grid_world({.kings_moves = true, .stochastic = true});
  expect_outcomes(*mdp, [&](int64_t s, int64_t a) {
    if (wind_of(s) == 0) return books_move(s, mdp->action_name(a), 0, 1);
    Outcomes all;
    for (int64_t wind = wind_of(s) - 1; wind <= wind_of(s) + 1; ++wind) {
      for (const auto& [o, p] : books_move(s, mdp->action_name(a), wind, 1.0 / 3)) all[o] += p;
    }
    return all;
  });
}

TEST(WindyGridWorld, BeginsAtTheLeftAndEndsAtTheGoal) {
  const auto mdp = windy_grid_world({});
  EXPECT_EQ(mdp->start()[30], 1);
  EXPECT_TRUE(mdp->is_terminal(kGoal));
  EXPECT_EQ(n_terminal(*mdp), 1);
}

}  // namespace
}  // namespace gradus::env
