#include "gradus/env/random_walk.h"

#include "tests/core/expect_error.h"
#include "tests/env/outcomes.h"

namespace gradus::env {
namespace {

TEST(RandomWalk, GoesEitherWayWithProbabilityOneHalf) {
  const auto mdp = random_walk({.states = 19, .reward_left = -1, .reward_right = 1});
  ASSERT_EQ(mdp->n_states(), 21);
  expect_outcomes(*mdp, [](int64_t s, int64_t) {
    Outcomes o;
    o[s == 0 ? std::tuple{int64_t{19}, true, -1.0} : std::tuple{s - 1, false, 0.0}] = 0.5;
    o[s == 18 ? std::tuple{int64_t{20}, true, 1.0} : std::tuple{s + 1, false, 0.0}] = 0.5;
    return o;
  });
}

TEST(RandomWalk, TheTwoEndsAreTerminal) {
  const auto mdp = random_walk({});
  EXPECT_TRUE(mdp->is_terminal(5));
  EXPECT_TRUE(mdp->is_terminal(6));
  EXPECT_EQ(n_terminal(*mdp), 2);
}

TEST(RandomWalk, BeginsInTheMiddle) {
  EXPECT_EQ(random_walk({.states = 5})->start()[2], 1);
  EXPECT_EQ(random_walk({.states = 19})->start()[9], 1);
}

TEST(RandomWalk, FiveStatesAreNamedAsInTheBook) {
  const auto mdp = random_walk({});
  EXPECT_EQ(mdp->state_name(0), "A");
  EXPECT_EQ(mdp->state_name(4), "E");
}

TEST(RandomWalk, OneStateIsAWalkOfOneStep) {
  const auto mdp = random_walk({.states = 1});
  EXPECT_EQ(outcomes_of(*mdp, 0, 0), (Outcomes{{{1, true, 0}, 0.5}, {{2, true, 1}, 0.5}}));
}

TEST(RandomWalk, RefusesToHaveNoStates) {
  EXPECT_GRADUS_ERROR(random_walk({.states = 0}), invalid_argument, "random walk: 0 states");
}

TEST(RandomWalk, RefusesARewardThatIsNotFinite) {
  EXPECT_GRADUS_ERROR(random_walk({.reward_left = std::numeric_limits<double>::infinity()}), invalid_argument,
                      "A, walk: a reward is inf");
}

}  // namespace
}  // namespace gradus::env
