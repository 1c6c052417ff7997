#include <gtest/gtest.h>

#include "gradus/rl/linear/lstd.h"
#include "gradus/rl/linear/td_linear.h"
#include "gradus/rl/linear_system.h"
#include "tests/core/expect_error.h"
#include "tests/rl/linear_case.h"

namespace gradus::rl {
namespace {

// Zhao's protocol for figures 8.7 and 8.8: 500 episodes of 500 steps from any state, alpha 0.0005, first weights
// normal. Returns the RMSE of the values in the end.
double td_rmse(const UniformGrid& grid, const Features& features, uint64_t seed) {
  env::FiniteEnv finite(grid.mdp, {.id = "grid", .max_episode_steps = 500});
  CoordinateEnv env(finite);
  env.reset(seed, {});
  std::vector<double> w(static_cast<size_t>(features.n()));
  Rng first(seed, Purpose::init);
  for (double& x : w) x = first.normal();
  TdLinear td(features, {.alpha = 0.0005, .gamma = 0.9}, w);
  Rng rng(seed, Purpose::sample);
  const auto uniform = [&](env::Observation, Rng& r) { return Choice{.a = pick(5, r)}; };
  for (int i = 0; i < 500; ++i) td.episode(env, uniform, rng);
  const auto end = td.V().weights();
  return grid.oracle(features).rmse({end.begin(), end.end()});
}

struct End {
  FeaturesConfig features;
  double low, high;
};

TEST(TdLinear, EndsWhereZhaosFiguresEnd) {
  const UniformGrid grid;
  for (const End& e :
       {End{{.kind = "polynomial", .order = 1}, 0.22, 0.24}, End{{.kind = "polynomial", .order = 2}, 0.20, 0.21},
        End{{.kind = "polynomial", .order = 3}, 0.16, 0.17}, End{{.kind = "fourier", .order = 1}, 0.21, 0.22},
        End{{.kind = "fourier", .order = 2}, 0.14, 0.16}, End{{.kind = "fourier", .order = 3}, 0.10, 0.13}}) {
    const auto features = make_features(grid.at.box, e.features);
    for (const uint64_t seed : {1, 2, 3}) {
      const double rmse = td_rmse(grid, *features, seed);
      printf("%s %ld seed %lu: %.4f\n", e.features.kind.c_str(), e.features.order, seed, rmse);
      EXPECT_GE(rmse, e.low - 0.005) << e.features.kind << e.features.order;
      EXPECT_LE(rmse, e.high + 0.005) << e.features.kind << e.features.order;
    }
  }
}

}  // namespace
}  // namespace gradus::rl
