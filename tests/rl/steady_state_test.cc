// In the steady state steps and updates allocate nothing, but for what oneDNN does in its library.
#include <gtest/gtest.h>

#include "gradus/core/thread_pool.h"
#include "gradus/env/cart_pole.h"
#include "gradus/kernels/gemm.h"
#include "tests/core/count_allocations.h"
#include "tests/rl/agent_case.h"

namespace gradus::rl {
namespace {

class SteadyState : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    set_pool_threads(1);
    kernels::set_gemm_backend(kernels::GemmBackend::highway);
  }
  void TearDown() override {
    kernels::set_gemm_backend(before_);
    set_pool_threads(available_cpus());
  }

  static std::unique_ptr<env::Env> cart_pole() {
    return std::make_unique<env::TimeLimit>(std::make_unique<env::CartPole>(), 20);  // cut as often as it falls
  }
  // Of `counted` steps after `warm` ones.
  static void expect_none(const env::EnvFactory& env, const DeepConfig& c, int64_t warm, int64_t counted,
                          std::string_view what) {
    const auto agent = make_by_steps(GetParam(), env, c);
    TrainingStats stats;
    const int64_t done = agent->train(0, warm, 1, stats);
    const Counts counts = counts_of([&] { agent->train(done, done + counted, 1, stats); });
    EXPECT_EQ(counts.allocations, 0) << what << "; from" << counts.callers;
    EXPECT_EQ(counts.storages, 0) << what;
  }

 private:
  const kernels::GemmBackend before_ = kernels::gemm_backend();
};

class OffPolicySteadyState : public SteadyState {};
INSTANTIATE_TEST_SUITE_P(All, OffPolicySteadyState, ::testing::Values("dqn", "dpg", "ddpg", "td3", "sac"), test_name);

TEST_P(OffPolicySteadyState, StepsAndUpdatesAllocateNothing) {
  const env::EnvFactory env = GetParam() == "dqn" ? cart_pole : task_for(GetParam(), 50);
  DeepConfig c{.learner = {},
               .network = {.hidden = {40, 30}},
               .replay = {.buffer_size = 500, .batch_size = 32, .learning_starts = 10}};
  expect_none(env, c, 200, 100, "plain");
  c.network.precision = "fp16";
  c.replay.n_step = 3;
  c.replay.prioritised = true;
  c.dqn = {.double_q = true, .dueling = true};
  c.normalize = {.observations = true, .rewards = true};
  expect_none(env, c, 200, 100, "everything");
}

class OnPolicySteadyState : public SteadyState {};
INSTANTIATE_TEST_SUITE_P(All, OnPolicySteadyState,
                         ::testing::Values("reinforce", "qac", "a2c", "off-policy-ac", "ppo", "npg", "trpo"),
                         test_name);

TEST_P(OnPolicySteadyState, CollectingAndLearningAllocateNothing) {
  DeepConfig c{.learner = {},
               .network = {.hidden = {40, 30}, .activation = "tanh"},
               .replay = {},
               .on_policy = {.n_steps = 60, .n_epochs = 2, .batch_size = 50},
               .n_envs = 2};
  for (const char* precision : {"fp32", "fp16"}) {
    c.network.precision = precision;
    expect_none(cart_pole, c, 2400, 1200, std::string("numbered actions, ") + precision);
    if (GetParam() == "qac") continue;  // has a value for each
    c.normalize = {.observations = true, .rewards = true};
    expect_none(task_for("ddpg"), c, 2400, 1200, std::string("a Box, ") + precision);
  }
}

}  // namespace
}  // namespace gradus::rl
