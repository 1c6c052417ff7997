#include "gradus/env/finite_mdp.h"

#include <limits>

#include "tests/core/expect_error.h"

namespace gradus::env {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Two states with two actions, and an end: "go" leads on, "stay" stays.
FiniteMdp::Definition chain() {
  return {.n_states = 3,
          .n_actions = 2,
          .outcomes = {{{.next = 1, .reward = 2}},
                       {{.next = 0}},
                       {{.probability = 0.25, .next = 0, .reward = 8}, {.probability = 0.75, .next = 2, .reward = 4}},
                       {{.next = 1}},
                       {},
                       {}},
          .start = {1, 0, 0},
          .state_names = {"first", "second", "end"},
          .action_names = {"go", "stay"}};
}

void expect_refused(const FiniteMdp::Definition& d, const std::string& part) {
  EXPECT_GRADUS_ERROR(FiniteMdp{d}, invalid_argument, part);
}

TEST(FiniteMdp, KeepsWhatTheDefinitionSays) {
  const FiniteMdp mdp(chain());
  EXPECT_EQ(mdp.n_states(), 3);
  EXPECT_EQ(mdp.n_actions(), 2);
  ASSERT_EQ(mdp.outcomes(1, 0).size(), 2U);
  EXPECT_EQ(mdp.outcomes(1, 0)[1].next, 2);
  EXPECT_EQ(mdp.outcomes(1, 0)[1].probability, 0.75);
  EXPECT_EQ(mdp.outcomes(1, 1)[0].next, 1);
  EXPECT_EQ(mdp.start()[0], 1);
}

TEST(FiniteMdp, AStateWithoutActionsIsTerminal) {
  const FiniteMdp mdp(chain());
  EXPECT_FALSE(mdp.is_terminal(0));
  EXPECT_FALSE(mdp.is_terminal(1));
  EXPECT_TRUE(mdp.is_terminal(2));
}

TEST(FiniteMdp, WhatLeadsToATerminalStateTerminates) {
  const FiniteMdp mdp(chain());
  EXPECT_FALSE(mdp.outcomes(1, 0)[0].terminated);
  EXPECT_TRUE(mdp.outcomes(1, 0)[1].terminated);
}

TEST(FiniteMdp, AnOutcomeMayTerminateInAStateWithActions) {
  FiniteMdp::Definition d = chain();
  d.outcomes[0][0].terminated = true;
  EXPECT_TRUE(FiniteMdp(d).outcomes(0, 0)[0].terminated);
}

TEST(FiniteMdp, TheExpectedRewardIsWeighedByProbability) {
  EXPECT_EQ(FiniteMdp(chain()).expected_reward(1, 0), 0.25 * 8 + 0.75 * 4);
}

TEST(FiniteMdp, StatesAndActionsWithoutNamesHaveNumbers) {
  FiniteMdp::Definition d = chain();
  EXPECT_EQ(FiniteMdp(d).state_name(1), "second");
  EXPECT_EQ(FiniteMdp(d).action_name(1), "stay");
  d.state_names.clear();
  d.action_names.clear();
  EXPECT_EQ(FiniteMdp(d).state_name(1), "state 1");
  EXPECT_EQ(FiniteMdp(d).action_name(1), "action 1");
}

TEST(FiniteMdp, RefusesANegativeProbability) {
  FiniteMdp::Definition d = chain();
  d.outcomes[2][0].probability = -0.25;
  d.outcomes[2][1].probability = 1.25;
  expect_refused(d, "second, go: a probability is -0.25");
}

TEST(FiniteMdp, RefusesAProbabilityThatIsNotANumber) {
  FiniteMdp::Definition d = chain();
  d.outcomes[2][0].probability = kNan;
  expect_refused(d, "second, go: a probability is nan");
}

TEST(FiniteMdp, RefusesProbabilitiesThatDoNotSumToOne) {
  FiniteMdp::Definition d = chain();
  d.outcomes[2][0].probability = 0.2;
  expect_refused(d, "second, go: the probabilities of what follows sum to 0.95, not to 1");
}

TEST(FiniteMdp, ForgivesASumThatRoundingMissed) {
  FiniteMdp::Definition d = chain();
  d.outcomes[2][0].probability += 0.9e-9;
  EXPECT_NO_THROW(FiniteMdp{d});
  d.outcomes[2][0].probability += 0.2e-9;
  EXPECT_THROW(FiniteMdp{d}, Error);
}

TEST(FiniteMdp, RefusesANextStateOutOfRange) {
  for (const int32_t next : {-1, 3}) {
    FiniteMdp::Definition d = chain();
    d.outcomes[1][0].next = next;
    expect_refused(d, "first, stay: the next state is " + std::to_string(next) + ", but there are 3");
  }
}

TEST(FiniteMdp, RefusesARewardThatIsNotFinite) {
  FiniteMdp::Definition d = chain();
  d.outcomes[3][0].reward = -kInf;
  expect_refused(d, "second, stay: a reward is -inf");
}

TEST(FiniteMdp, RefusesADeviationThatCannotBe) {
  for (const double deviation : {-1.0, kInf, kNan}) {
    FiniteMdp::Definition d = chain();
    d.outcomes[3][0].deviation = deviation;
    expect_refused(d, "second, stay: a reward's deviation is ");
  }
}

TEST(FiniteMdp, RefusesAStateWithSomeActionsAlone) {
  FiniteMdp::Definition d = chain();
  d.outcomes[3].clear();
  expect_refused(d, "second has some actions, but not stay");
}

TEST(FiniteMdp, RefusesStartProbabilitiesThatDoNotSumToOne) {
  FiniteMdp::Definition d = chain();
  d.start = {0.5, 0.25, 0};
  expect_refused(d, "the start probabilities sum to 0.75, not to 1");
}

TEST(FiniteMdp, RefusesANegativeStartProbability) {
  FiniteMdp::Definition d = chain();
  d.start = {1.5, -0.5, 0};
  expect_refused(d, "the start probability of second is -0.5");
}

TEST(FiniteMdp, RefusesToStartWhereAllEnds) {
  FiniteMdp::Definition d = chain();
  d.start = {0.5, 0, 0.5};
  expect_refused(d, "an episode may start in end, where all ends");
}

TEST(FiniteMdp, RefusesListsOfOtherLengths) {
  FiniteMdp::Definition d = chain();
  d.outcomes.pop_back();
  expect_refused(d, "5 lists of outcomes for 3 states x 2 actions");
  d = chain();
  d.start.push_back(0);
  expect_refused(d, "4 start probabilities for 3 states");
  d = chain();
  d.state_names.pop_back();
  expect_refused(d, "2 names for 3 states");
  d = chain();
  d.action_names.emplace_back("more");
  expect_refused(d, "3 names for 2 actions");
}

TEST(FiniteMdp, RefusesToHaveNoStatesOrNoActions) {
  expect_refused({.n_states = 0, .n_actions = 1}, "0 states and 1 actions, but at least one of each is needed");
  expect_refused({.n_states = 1, .n_actions = 0, .start = {1}}, "1 states and 0 actions");
}

}  // namespace
}  // namespace gradus::env
