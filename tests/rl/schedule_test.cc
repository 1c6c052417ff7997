#include "gradus/rl/deep/schedule.h"

#include <gtest/gtest.h>

#include "tests/core/expect_error.h"
#include "tests/rl/agent_case.h"

namespace gradus::rl {
namespace {

TEST(Schedule, GoesFromOneValueToTheOtherBetweenItsShares) {
  const Schedule line{.from = 3, .to = 1, .begin = 0.25, .end = 0.75};
  EXPECT_EQ(line(0), 3);
  EXPECT_EQ(line(0.25), 3);
  EXPECT_EQ(line(0.5), 2);
  EXPECT_EQ(line(0.75), 1);
  EXPECT_EQ(line(1.1), 1);
  const Schedule exponential{.from = 4, .to = 1, .begin = 0.25, .end = 0.75, .exponential = true};
  EXPECT_EQ(exponential(0.1), 4);
  EXPECT_EQ(exponential(0.5), 2);
  EXPECT_EQ(exponential(0.9), 1);
}

TEST(ScheduleConfig, ChangesNothingUnlessItIsToldTo) {
  for (const char* shape : {"linear", "exponential"}) {
    const ScheduleConfig c{.shape = shape};
    for (const double progress : {0.0, 0.3, 1.0, 1.2}) EXPECT_EQ(c.factor(c.sigma_share, progress), 1);
  }
}

TEST(ScheduleConfig, RefusesWhatIsNoSchedule) {
  const auto refuses = [](const ScheduleConfig& c, const char* message) {
    EXPECT_GRADUS_ERROR(c.check(), invalid_argument, message);
  };
  refuses({.begin = 0.8, .end = 0.2}, "schedule.begin is 0.8, but schedule.end is 0.2");
  refuses({.begin = 0.5, .end = 0.5}, "set end above");
  refuses({.begin = -0.1}, "schedule.begin is -0.1, but must lie in [0, 1]");
  refuses({.end = 1.5}, "schedule.end is 1.5, but must lie in [0, 1]");
  refuses({.learning_rate_share = 2}, "schedule.learning_rate_share is 2");
  refuses({.clip_range_share = NAN}, "schedule.clip_range_share is nan");
  refuses({.ent_coef_share = -1}, "schedule.ent_coef_share is -1");
  refuses({.sigma_share = 0, .shape = "exponential"}, "schedule.sigma_share is 0, but schedule.shape is exponential");
  refuses({.shape = "cosine"}, "schedule.shape is 'cosine'");
}

TEST(DeepConfig, RefusesTwoSchedulesOfLearningRates) {
  DeepConfig c;
  c.network.linear_decay = true;
  c.check();
  c.schedule.learning_rate_share = 0.1;
  EXPECT_GRADUS_ERROR(c.check(), invalid_argument, "linear_decay is true, but schedule.learning_rate_share is 0.1");
}

TEST(ExplorationConfig, RefusesToGoOnBehindTheEnd) {
  EXPECT_GRADUS_ERROR((ExplorationConfig{.begin = 0.5, .fraction = 0.6}.check()), invalid_argument,
                      "exploration.begin is 0.5, but exploration.fraction is 0.6");
  ExplorationConfig{.begin = 0.5, .fraction = 0.5}.check();
}

// A training with a schedule is that without one until it begins, and another one from there on.
struct Scheduled {
  const char *algorithm, *setting;
  void (*change)(DeepConfig& c);
};
class Schedules : public ::testing::TestWithParam<Scheduled> {};

void learning_rate(DeepConfig& c) {
  c.schedule.learning_rate_share = 0.1;
}
void clip_range(DeepConfig& c) {
  c.schedule.clip_range_share = 0;
}
void ent_coef(DeepConfig& c) {
  c.schedule.ent_coef_share = 0.1;
}
void sigma(DeepConfig& c) {
  c.schedule.sigma_share = 0.1;
}
void eps(DeepConfig& c) {
  c.exploration = {.begin = 0.5, .fraction = 0.5, .initial_eps = 0.5, .final_eps = 0};
}
INSTANTIATE_TEST_SUITE_P(
    All, Schedules,
    ::testing::Values(Scheduled{"reinforce", "ent_coef", ent_coef}, Scheduled{"qac", "ent_coef", ent_coef},
                      Scheduled{"a2c", "learning_rate", learning_rate}, Scheduled{"a2c", "ent_coef", ent_coef},
                      Scheduled{"off-policy-ac", "ent_coef", ent_coef}, Scheduled{"ppo", "clip_range", clip_range},
                      Scheduled{"ppo", "ent_coef", ent_coef}, Scheduled{"trpo", "ent_coef", ent_coef},
                      Scheduled{"npg", "learning_rate", learning_rate}, Scheduled{"dqn", "eps", eps},
                      Scheduled{"dqn", "learning_rate", learning_rate}, Scheduled{"dpg", "sigma", sigma},
                      Scheduled{"ddpg", "sigma", sigma}, Scheduled{"td3", "sigma", sigma},
                      Scheduled{"sac", "learning_rate", learning_rate}),
    [](const auto& test) {
      std::string name = std::string(test.param.algorithm) + '_' + test.param.setting;
      std::ranges::replace(name, '-', '_');
      return name;
    });

TEST_P(Schedules, HoldFromTheirBeginningOn) {
  const Scheduled& p = GetParam();
  DeepConfig c{.learner = {},
               .network = {.hidden = {8}, .activation = "tanh"},
               .replay = {.batch_size = 16, .learning_starts = 32},
               .on_policy = {.n_steps = 25, .batch_size = 50, .ent_coef = 0.1},
               .schedule = {.begin = 0.5},
               .exploration = {.fraction = 1, .initial_eps = 0.5, .final_eps = 0.5},
               .n_envs = 2,
               .total_steps = 400};
  const env::EnvFactory make = task_for(p.algorithm);
  const auto constant = make_by_steps(p.algorithm, make, c);
  p.change(c);
  const auto scheduled = make_by_steps(p.algorithm, make, c);
  TrainingStats stats;
  EXPECT_EQ(constant->train(0, 200, 1, stats), 200);
  scheduled->train(0, 200, 1, stats);
  EXPECT_TRUE(same_state(scheduled->state(), constant->state()));
  constant->train(200, 400, 1, stats);
  scheduled->train(200, 400, 1, stats);
  EXPECT_FALSE(same_state(scheduled->state(), constant->state()));
}

}  // namespace
}  // namespace gradus::rl
