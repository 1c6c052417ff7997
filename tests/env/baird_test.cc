#include "gradus/env/baird.h"

#include "tests/env/outcomes.h"

namespace gradus::env {
namespace {

// Example 11.1: dashed to one of the six upper states, solid to the seventh; all rewards 0.
TEST(Baird, FollowsTheBooksRule) {
  const auto mdp = baird();
  ASSERT_EQ(mdp->n_states(), 7);
  EXPECT_EQ(mdp->action_name(0), "dashed");
  expect_outcomes(*mdp, [](int64_t, int64_t a) {
    if (a == 1) return Outcomes{{{6, false, 0}, 1}};
    Outcomes upper;
    for (int64_t s = 0; s < 6; ++s) upper[{s, false, 0}] = 1.0 / 6;
    return upper;
  });
}

TEST(Baird, NothingEnds) {
  EXPECT_EQ(n_terminal(*baird()), 0);
}

TEST(Baird, BeginsAnywhere) {
  const auto mdp = baird();
  for (const double p : mdp->start()) EXPECT_DOUBLE_EQ(p, 1.0 / 7);
}

}  // namespace
}  // namespace gradus::env
