#include "gradus/env/cliff_walking.h"

#include <algorithm>

#include "gradus/env/finite_env.h"
#include "tests/env/outcomes.h"

namespace gradus::env {
namespace {

constexpr int64_t kStart = 36, kGoal = 47;
constexpr int64_t kCliff[] = {37, 38, 39, 40, 41, 42, 43, 44, 45, 46};

// Gymnasium's CliffWalking: a move within [0, 3] x [0, 11]; from the cliff back to (3, 0) for -100; else -1, and the
// end at (3, 11). Actions 0 up, 1 right, 2 down, 3 left.
Outcomes gymnasiums_move(int64_t s, int64_t a, double probability) {
  constexpr int64_t kDelta[4][2] = {{-1, 0}, {0, 1}, {1, 0}, {0, -1}};
  const int64_t row = std::max<int64_t>(0, std::min<int64_t>(3, s / 12 + kDelta[a][0]));
  const int64_t column = std::max<int64_t>(0, std::min<int64_t>(11, s % 12 + kDelta[a][1]));
  if (std::ranges::count(kCliff, row * 12 + column) > 0) return {{{kStart, false, -100}, probability}};
  return {{{row * 12 + column, row == 3 && column == 11, -1}, probability}};
}

TEST(CliffWalking, FollowsGymnasiumsRule) {
  const auto mdp = cliff_walking({});
  ASSERT_EQ(mdp->n_states(), 48);
  ASSERT_EQ(mdp->n_actions(), 4);
  expect_outcomes(*mdp, [](int64_t s, int64_t a) { return gymnasiums_move(s, a, 1); });
}

TEST(CliffWalking, SlipsToEitherSideWithProbabilityOneThirdEach) {
  expect_outcomes(*cliff_walking({.is_slippery = true}), [](int64_t s, int64_t a) {
    Outcomes all;
    for (const int64_t turned : {(a + 3) % 4, a, (a + 1) % 4}) {
      for (const auto& [outcome, p] : gymnasiums_move(s, turned, 1.0 / 3)) all[outcome] += p;
    }
    return all;
  });
}

TEST(CliffWalking, OnlyTheGoalIsTheEnd) {
  const auto mdp = cliff_walking({});
  EXPECT_TRUE(mdp->is_terminal(kGoal));
  EXPECT_EQ(n_terminal(*mdp), 1);
}

TEST(CliffWalking, BeginsInTheLowerLeftCorner) {
  const auto mdp = cliff_walking({});
  EXPECT_EQ(mdp->start()[kStart], 1);
}

TEST(CliffWalking, FallingCostsAHundredAndBeginsAgain) {
  FiniteEnv env(cliff_walking({}), {.id = "cliff"});
  Rng rng(1, Purpose::test);
  env.begin(rng);
  const FiniteEnv::Move m = env.move(1, rng);
  EXPECT_EQ(m.reward, -100);
  EXPECT_EQ(m.next, kStart);
  EXPECT_FALSE(m.terminated);
}

TEST(CliffWalking, TheWayAlongTheEdgeCostsThirteen) {
  FiniteEnv env(cliff_walking({}), {.id = "cliff"});
  Rng rng(1, Purpose::test);
  env.begin(rng);
  double total = env.move(0, rng).reward;
  for (int i = 0; i < 11; ++i) total += env.move(1, rng).reward;
  const FiniteEnv::Move last = env.move(2, rng);
  EXPECT_TRUE(last.terminated);
  EXPECT_EQ(total + last.reward, -13);
}

TEST(CliffWalking, ThePictureShowsTheCliff) {
  const auto mdp = cliff_walking({});
  using enum GridPicture::Cell;
  for (const int64_t s : kCliff) EXPECT_EQ(mdp->picture()->cells[static_cast<size_t>(s)], forbidden);
  EXPECT_EQ(mdp->picture()->cells[kStart], start);
  EXPECT_EQ(mdp->picture()->cells[kGoal], target);
}

}  // namespace
}  // namespace gradus::env
