#include "gradus/rl/linear/oracles.h"

#include <gtest/gtest.h>

#include "gradus/rl/linear/feature_table.h"
#include "tests/core/expect_error.h"
#include "tests/rl/linear_case.h"

namespace gradus::rl {
namespace {

// The figures of Zhao's features on his grid, computed apart from this library.
struct Reach {
  FeaturesConfig features;
  double td, best;
};
const Reach kReach[] = {
    {{.kind = "polynomial", .order = 1}, 0.2228, 0.2215}, {{.kind = "polynomial", .order = 2}, 0.1935, 0.1919},
    {{.kind = "polynomial", .order = 3}, 0.1251, 0.1246}, {{.kind = "fourier", .order = 1}, 0.2067, 0.2063},
    {{.kind = "fourier", .order = 2}, 0.1374, 0.1360},    {{.kind = "fourier", .order = 3}, 0.0973, 0.0925}};

TEST(LinearOracle, ReproducesWhatZhaosFeaturesReach) {
  const UniformGrid grid;
  for (const Reach& r : kReach) {
    const LinearOracle oracle = grid.oracle(*make_features(grid.at.box, r.features));
    EXPECT_NEAR(oracle.rmse(oracle.td_fixed_point()), r.td, 5e-5) << r.features.kind << r.features.order;
    EXPECT_NEAR(oracle.rmse(oracle.least_value_error()), r.best, 5e-5) << r.features.kind << r.features.order;
  }
}

TEST(LinearOracle, TheUniformPolicyVisitsAllStatesOfTheGridAlike) {
  const UniformGrid grid;
  for (const double d : stationary_distribution(*grid.mdp, grid.pi)) EXPECT_NEAR(d, 1.0 / 25, 1e-12);
}

TEST(LinearOracle, AMinimiserIsBelowItsNeighbours) {
  const UniformGrid grid;
  const LinearOracle oracle = grid.oracle(Polynomial(grid.at.box, 2));
  const auto expect_least = [](std::vector<double> w, auto error) {
    const double least = error(w);
    for (double& x : w) {
      for (const double step : {-0.01, 0.02, -0.01}) {
        x += step;
        EXPECT_GE(error(w), least - 1e-12);
      }
    }
  };
  expect_least(oracle.least_value_error(), [&](const auto& w) { return oracle.value_error(w); });
  expect_least(oracle.least_bellman_error(), [&](const auto& w) { return oracle.bellman_error(w); });
  expect_least(oracle.least_projected_bellman_error(),
               [&](const auto& w) { return oracle.projected_bellman_error(w); });
}

TEST(LinearOracle, TheProjectedBellmanErrorIsZeroAtTheTdFixedPointAlone) {
  const UniformGrid grid;
  const LinearOracle oracle = grid.oracle(Fourier(grid.at.box, 2));
  const std::vector<double> td = oracle.td_fixed_point();
  EXPECT_NEAR(oracle.projected_bellman_error(td), 0, 1e-20);
  EXPECT_GT(oracle.projected_bellman_error(oracle.least_value_error()), 1e-6);
  const std::vector<double> least = oracle.least_projected_bellman_error();
  for (size_t i = 0; i < td.size(); ++i) EXPECT_NEAR(least[i], td[i], 1e-9);
}

TEST(LinearOracle, ATableHasNoError) {
  const UniformGrid grid;
  const LinearOracle oracle = grid.oracle(Aggregation(grid.at.box, 5));
  for (const auto& w : {oracle.td_fixed_point(), oracle.least_value_error(), oracle.least_bellman_error()}) {
    EXPECT_NEAR(oracle.rmse(w), 0, 1e-10);
    EXPECT_NEAR(oracle.bellman_error(w), 0, 1e-20);
  }
}

// Tsitsiklis and Van Roy 1997; Sutton & Barto, 2nd ed., eq. (9.14).
TEST(LinearOracle, TheTdFixedPointIsWithinItsBoundOfTheBestFit) {
  const UniformGrid grid;
  for (const Reach& r : kReach) {
    const LinearOracle oracle = grid.oracle(*make_features(grid.at.box, r.features));
    const double best = oracle.value_error(oracle.least_value_error());
    const double td = oracle.value_error(oracle.td_fixed_point());
    EXPECT_LE(best, td);
    EXPECT_LE(td, best / ((1 - 0.9) * (1 - 0.9)));
  }
}

TEST(LinearOracle, TerminalStatesHaveNoValueWhateverTheirFeatures) {
  env::GridWorldConfig c;
  c.target_is_terminal = true;
  const auto mdp = env::grid_world(c);
  const Table pi = uniform_policy(25, 5);
  const Coordinates at = coordinates_of(*mdp);
  const std::vector<double> d(25, 0.04);
  const LinearOracle oracle(*mdp, pi, feature_matrix(Fourier(at.box, 1), at.points), d, 0.9);
  EXPECT_EQ(oracle.values(oracle.td_fixed_point())[17], 0);
  EXPECT_NEAR(oracle.projected_bellman_error(oracle.td_fixed_point()), 0, 1e-20);
}

TEST(LinearOracle, DependentFeaturesHaveNoSinglePoint) {
  const UniformGrid grid;
  EXPECT_GRADUS_ERROR(grid.oracle(TileCoding(grid.at.box, 2, 2)).td_fixed_point(), invalid_argument, "singular");
  EXPECT_GRADUS_ERROR(LinearOracle(*grid.mdp, grid.pi, Table(24, 3), std::vector<double>(25, 0.04), 0.9),
                      invalid_argument, "there are 25");
}

TEST(FromTableToFunction, GoesFromTheTableToThreeNumbers) {
  const UniformGrid grid;
  const auto rows = from_table_to_function(*grid.mdp, grid.pi, 0.9);
  EXPECT_EQ(rows.front().features, "table");
  EXPECT_EQ(rows.front().n_numbers, 25);
  EXPECT_EQ(rows.front().td_rmse, 0);
  EXPECT_EQ(rows.back().features, "polynomial, order 1");
  EXPECT_EQ(rows.back().n_numbers, 3);
  EXPECT_NEAR(rows.back().td_rmse, 0.2228, 5e-5);
  EXPECT_NEAR(rows.back().best_fit_rmse, 0.2215, 5e-5);
  for (const auto& row : rows) EXPECT_LE(row.best_fit_rmse, row.td_rmse + 1e-12) << row.features;
}

}  // namespace
}  // namespace gradus::rl
