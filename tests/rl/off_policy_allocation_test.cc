// In the steady state a step and its update allocate nothing, but for what oneDNN does in its library. This file
// replaces operator new for its whole program; it counts only while the test asks for it.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "gradus/core/thread_pool.h"
#include "gradus/env/cart_pole.h"
#include "gradus/env/pendulum.h"
#include "gradus/kernels/gemm.h"
#include "gradus/rl/deep/deep_agent.h"
#include "tests/rl/tabular_case.h"

// The compiler sees free inlined into callers of new and does not know that new here is malloc.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

namespace {

std::atomic<bool> counting{false};
std::atomic<int64_t> n_allocations{0};

}  // namespace

void* operator new(size_t n) {
  if (counting.load(std::memory_order_relaxed)) ++n_allocations;
  if (void* p = std::malloc(n == 0 ? 1 : n)) return p;
  throw std::bad_alloc();
}
void operator delete(void* p) noexcept {
  std::free(p);
}
void operator delete(void* p, size_t) noexcept {
  std::free(p);
}

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
    const auto agent = std::ranges::find(deep_algorithms(), GetParam(), &DeepAlgorithm::name)->by_steps(env, c, 1);
    TrainingStats stats;
    agent->train(0, 200, 1, stats);
    const int64_t storages = tensor_storages_created();
    n_allocations = 0;
    counting = true;
    agent->train(200, 300, 1, stats);
    counting = false;
    EXPECT_EQ(n_allocations, 0) << everything;
    EXPECT_EQ(tensor_storages_created(), storages);
  }
  kernels::set_gemm_backend(before);
  set_pool_threads(available_cpus());
}

}  // namespace
}  // namespace gradus::rl
