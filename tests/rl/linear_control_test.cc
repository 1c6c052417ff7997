#include <gtest/gtest.h>

#include <numeric>

#include "gradus/rl/linear/q_learning_linear.h"
#include "gradus/rl/linear/sarsa_linear.h"
#include "tests/core/expect_error.h"
#include "tests/rl/linear_case.h"

namespace gradus::rl {
namespace {

TEST(SarsaLinear, MountainCar) {
  for (const double alpha : {0.1, 0.2, 0.5}) {
    std::vector<double> steps(500, 0.0);
    for (uint64_t run = 0; run < 6; ++run) {
      MountainCarCase env(run);
      const TileCoding features(bounds_of(env.spec().observation_space), 8, 8);
      SarsaLinear sarsa(features, 3, {.alpha = alpha / 8, .gamma = 1, .eps = 0});
      Rng rng(run, Purpose::sample);
      for (double& n : steps) n += static_cast<double>(sarsa.episode(env, rng).length) / 6;
    }
    const auto mean = [&](int a, int b) {
      return std::accumulate(steps.begin() + a, steps.begin() + b, 0.0) / (b - a);
    };
    printf("alpha %g/8: %.1f %.1f %.1f\n", alpha, mean(0, 50), mean(90, 100), mean(400, 500));
  }
}

}  // namespace
}  // namespace gradus::rl
