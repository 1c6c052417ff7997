// In the steady state VecEnv allocates nothing.
#include <gtest/gtest.h>

#include "gradus/env/catalogue.h"
#include "gradus/env/vec_env.h"
#include "tests/core/count_allocations.h"

namespace gradus::env {
namespace {

TEST(VecEnv, AllocatesNothingOnceEpisodesHaveEnded) {
  EnvConfig c;
  c.name = "mountaincar";  // 200 steps an episode
  for (const int threads : {1, 2}) {
    const auto envs =
        make_vec_env([&] { return make_env(c); }, {.num_envs = 8, .batch_size = 4, .num_threads = threads});
    envs->reset(1);
    const std::vector<float> all(8, 2), half(4, 2);
    const auto steps = [&](int n) {
      for (int i = 0; i < n; ++i) {
        envs->step(all);
        for (int batch = 0; batch < 2; ++batch) envs->send(half);
        for (int batch = 0; batch < 2; ++batch) envs->recv();
      }
    };
    steps(150);
    const Counts counts = counts_of([&] { steps(300); });
    EXPECT_EQ(counts.allocations, 0) << threads << " threads; from" << counts.callers;
  }
}

}  // namespace
}  // namespace gradus::env
