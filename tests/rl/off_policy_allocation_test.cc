// In the steady state a step and its update allocate nothing, but for what oneDNN does in its library.
#include <gtest/gtest.h>

#include "gradus/core/thread_pool.h"
#include "gradus/env/cart_pole.h"
#include "gradus/env/pendulum.h"
#include "gradus/kernels/gemm.h"
#include "tests/core/count_allocations.h"
#include "tests/rl/agent_case.h"

namespace gradus::rl {
namespace {

class OffPolicySteadyState : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, OffPolicySteadyState, ::testing::Values("dqn", "dpg", "ddpg", "td3", "sac"), test_name);

TEST_P(OffPolicySteadyState, StepsAndUpdatesAllocateNothing) {
  const auto env = []() -> std::unique_ptr<env::Env> {
    if (GetParam() == "dqn") return std::make_unique<env::TimeLimit>(std::make_unique<env::CartPole>(), 50);
    return std::make_unique<env::TimeLimit>(std::make_unique<env::Pendulum>(), 50);
  };
  set_pool_threads(1);
  const kernels::GemmBackend before = kernels::gemm_backend();
  kernels::set_gemm_backend(kernels::GemmBackend::highway);
  for (const bool everything : {false, true}) {
    DeepConfig c{.learner = {},
                 .network = {.hidden = {40, 30}},
                 .replay = {.buffer_size = 500, .batch_size = 32, .learning_starts = 10}};
    if (everything) {
      c.replay.n_step = 3;
      c.replay.prioritised = true;
      c.dqn = {.double_q = true, .dueling = true};
      c.normalize = {.observations = true, .rewards = true};
    }
    const auto agent = make_by_steps(GetParam(), env, c);
    TrainingStats stats;
    agent->train(0, 200, 1, stats);
    const Counts counts = counts_of([&] { agent->train(200, 300, 1, stats); });
    EXPECT_EQ(counts.allocations, 0) << everything << "; from" << counts.callers;
    EXPECT_EQ(counts.storages, 0) << everything;
  }
  kernels::set_gemm_backend(before);
  set_pool_threads(available_cpus());
}

}  // namespace
}  // namespace gradus::rl
