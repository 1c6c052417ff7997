#include "gradus/env/taxi.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "tests/env/outcomes.h"

namespace gradus::env {
namespace {

// Gymnasium's map: a bar is a wall, a colon can be passed.
constexpr std::array<std::string_view, 5> kMap = {"|R: | : :G|",  //
                                                  "| : | : : |",  //
                                                  "| : : : : |",  //
                                                  "| | : | : |",  //
                                                  "|Y| : |B: |"};
using Cell = std::pair<int64_t, int64_t>;
constexpr std::array<Cell, 4> kPlaces = {{{0, 0}, {0, 4}, {4, 0}, {4, 3}}};

struct State {
  int64_t row, column, passenger, destination;
  int64_t encoded() const { return ((row * 5 + column) * 5 + passenger) * 4 + destination; }
  Cell cell() const { return {row, column}; }
};

State decoded(int64_t s) {
  return {.row = s / 4 / 5 / 5, .column = s / 4 / 5 % 5, .passenger = s / 4 % 5, .destination = s % 4};
}

// The loop body of Gymnasium's TaxiEnv.__init__.
Outcomes gymnasiums_rule(int64_t s, int64_t action) {
  const State is = decoded(s);
  State next = is;
  double reward = -1;
  bool terminated = false;
  const std::string_view row = kMap[static_cast<size_t>(is.row)];
  if (action == 0) next.row = std::min<int64_t>(is.row + 1, 4);
  if (action == 1) next.row = std::max<int64_t>(is.row - 1, 0);
  if (action == 2 && row[static_cast<size_t>(2 * is.column + 2)] == ':')
    next.column = std::min<int64_t>(is.column + 1, 4);
  if (action == 3 && row[static_cast<size_t>(2 * is.column)] == ':') next.column = std::max<int64_t>(is.column - 1, 0);
  if (action == 4) {
    if (is.passenger < 4 && is.cell() == kPlaces[static_cast<size_t>(is.passenger)]) {
      next.passenger = 4;
    } else {
      reward = -10;
    }
  }
  if (action == 5) {
    const auto place = std::ranges::find(kPlaces, is.cell());
    if (is.cell() == kPlaces[static_cast<size_t>(is.destination)] && is.passenger == 4) {
      next.passenger = is.destination;
      terminated = true;
      reward = 20;
    } else if (place != kPlaces.end() && is.passenger == 4) {
      next.passenger = place - kPlaces.begin();
    } else {
      reward = -10;
    }
  }
  return {{{next.encoded(), terminated, reward}, 1}};
}

TEST(Taxi, FollowsGymnasiumsRule) {
  const auto mdp = taxi();
  ASSERT_EQ(mdp->n_states(), 500);
  ASSERT_EQ(mdp->n_actions(), 6);
  EXPECT_EQ(n_terminal(*mdp), 0);
  expect_outcomes(*mdp, gymnasiums_rule);
}

TEST(Taxi, BeginsWithAPassengerWhoIsNotYetThere) {
  const auto mdp = taxi();
  int n = 0;
  for (int64_t s = 0; s < 500; ++s) {
    const State is = decoded(s);
    const bool begins = is.passenger != 4 && is.passenger != is.destination;
    EXPECT_DOUBLE_EQ(mdp->start()[static_cast<size_t>(s)], begins ? 1.0 / 300 : 0) << s;
    n += begins ? 1 : 0;
  }
  EXPECT_EQ(n, 300);
}

TEST(Taxi, AStateIsNamedInWords) {
  EXPECT_EQ(taxi()->state_name(State{3, 1, 2, 0}.encoded()), "(4, 2) yellow to red");
  EXPECT_EQ(taxi()->state_name(State{0, 0, 4, 3}.encoded()), "(1, 1) aboard to blue");
}

}  // namespace
}  // namespace gradus::env
