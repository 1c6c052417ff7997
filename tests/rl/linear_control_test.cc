#include <gtest/gtest.h>

#include <numeric>

#include "gradus/rl/linear/q_learning_linear.h"
#include "gradus/rl/linear/sarsa_linear.h"
#include "tests/core/expect_error.h"
#include "tests/rl/linear_case.h"

namespace gradus::rl {
namespace {

// Sutton & Barto, 2nd ed., figure 10.2: eps 0, gamma 1, 8 tilings of 8 x 8; mean steps of six runs over episodes 1-50,
// 91-100 and 401-500, within 10 % of what another program computed.
TEST(SarsaLinear, ClimbsTheMountainAsInFigure10_2) {
  struct Curve {
    double alpha, first, later, last;
  };
  for (const Curve& c : {Curve{0.1 / 8, 565, 212, 137}, Curve{0.2 / 8, 408, 167, 129}, Curve{0.5 / 8, 282, 142, 118}}) {
    std::vector<double> steps(500, 0.0);
    for (uint64_t run = 0; run < 6; ++run) {
      MountainCarCase env(run);
      const TileCoding features(bounds_of(env.spec().observation_space), 8, 8);
      SarsaLinear sarsa(features, 3, {.alpha = c.alpha, .gamma = 1, .eps = 0});
      Rng rng(run, Purpose::sample);
      for (double& n : steps) n += static_cast<double>(sarsa.episode(env, rng).length) / 6;
    }
    const auto mean = [&](int from, int to) {
      return std::accumulate(steps.begin() + from, steps.begin() + to, 0.0) / (to - from);
    };
    EXPECT_NEAR(mean(0, 50), c.first, 0.1 * c.first);
    EXPECT_NEAR(mean(90, 100), c.later, 0.1 * c.later);
    EXPECT_NEAR(mean(400, 500), c.last, 0.1 * c.last);
  }
}

// The setting of Zhao's figures 8.9 and 8.10: Fourier order 5, alpha 0.001, eps 0.1, gamma 0.9, rewards -10, -10, 1,
// 500 episodes from (1, 1); a move costs 1 as in his figures 7.2 and 7.3. The shortest path that avoids forbidden cells
// has 11 moves, and a table's eps-greedy policy takes 12 to 15. Returns the mean length of the last 100 episodes.
template <class Learner>
double length_learned(uint64_t seed) {
  env::GridWorldConfig c;
  c.reward_boundary = c.reward_forbidden = -10;
  c.reward_other = -1;
  c.target_is_terminal = true;
  c.start_row = c.start_column = 1;
  env::FiniteEnv finite(env::grid_world(c), {.id = "grid", .max_episode_steps = 0, .reward_threshold = {}});
  CoordinateEnv env(finite);
  const Fourier features(env.coordinates().box, 5);
  Learner learner(features, 5, {.alpha = 0.001, .gamma = 0.9, .eps = 0.1});
  Rng rng(seed, Purpose::sample);
  for (int i = 0; i < 400; ++i) learner.episode(env, rng);
  double length = 0;
  for (int i = 0; i < 100; ++i) length += static_cast<double>(learner.episode(env, rng).length) / 100;
  return length;
}

TEST(SarsaLinear, LearnsAPathOfZhaosGrid) {
  for (const uint64_t seed : {1, 2, 3}) EXPECT_LE(length_learned<SarsaLinear<Fourier>>(seed), 25);
}

TEST(QLearningLinear, LearnsAPathOfZhaosGrid) {
  for (const uint64_t seed : {1, 2, 3}) EXPECT_LE(length_learned<QLearningLinear<Fourier>>(seed), 25);
}

// Zhao, figure 7.4: uniform actions, one episode of 100 000 steps, alpha 0.1. With a cell for each state the features
// are a table, and the greatest action values come within 0.004 of the optimal values.
TEST(QLearningLinear, OfATableEndsAtTheOptimalValues) {
  const UniformGrid grid;
  env::FiniteEnv finite(grid.mdp, {.id = "grid", .max_episode_steps = 100'000, .reward_threshold = {}});
  CoordinateEnv env(finite);
  const Aggregation features(grid.at.box, 5);
  QLearningLinear learner(features, 5, {.alpha = 0.1, .gamma = 0.9, .eps = 1});
  Rng rng(1, Purpose::sample);
  learner.episode(env, rng);
  const std::vector<double> V = greatest_values(learner.values_at(grid.at.points));
  const std::vector<double> optimal = value_iteration(*grid.mdp, {.gamma = 0.9}).V;
  double sum = 0;
  for (size_t s = 0; s < V.size(); ++s) sum += (V[s] - optimal[s]) * (V[s] - optimal[s]) / 25;
  EXPECT_LE(std::sqrt(sum), 0.006);
}

TEST(LinearControl, ThroughVirtualFunctionsIsTheSameToTheBit) {
  MountainCarCase car(1), car2(1);
  env::Env& env = car2;
  const TileCoding tiles(bounds_of(car.spec().observation_space), 8, 8);
  const auto made = make_features(env.spec().observation_space, {});
  const Features& features = *made;
  SarsaLinear inlined(tiles, 3, {.alpha = 0.05, .gamma = 1, .eps = 0.1});
  SarsaLinear called(features, 3, {.alpha = 0.05, .gamma = 1, .eps = 0.1});
  Rng rng(1, Purpose::sample), rng2(1, Purpose::sample);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(inlined.episode(car, rng).length, called.episode(env, rng2).length);
  EXPECT_EQ(inlined.Q().weights(), called.Q().weights());
}

TEST(LinearControl, TooLargeAStepSizeDivergesWithFiniteWeights) {
  MountainCarCase env(1);
  const TileCoding features(bounds_of(env.spec().observation_space), 8, 8);
  Rng rng(1, Purpose::sample);
  SarsaLinear sarsa(features, 3, {.alpha = 1, .gamma = 1, .eps = 0});
  EXPECT_GRADUS_ERROR(while (true) sarsa.episode(env, rng), diverged, "at step ");
  QLearningLinear q_learning(features, 3, {.alpha = 1, .gamma = 1, .eps = 0});
  EXPECT_GRADUS_ERROR(while (true) q_learning.episode(env, rng), diverged, "at step ");
  for (const double w : sarsa.Q().weights().values()) EXPECT_LE(std::abs(w), kLargestWeight);
  for (const double w : q_learning.Q().weights().values()) EXPECT_LE(std::abs(w), kLargestWeight);
}

TEST(LinearControl, RefusesWhatIsOutOfRange) {
  const TileCoding features({.low = {0}, .high = {1}}, 2, 2);
  EXPECT_GRADUS_ERROR(SarsaLinear(features, 3, {.eps = -0.1}), invalid_argument, "eps is -0.1");
  EXPECT_GRADUS_ERROR(QLearningLinear(features, 3, {.alpha = -1}), invalid_argument, "alpha is -1");
}

TEST(LinearControl, NeedsDiscreteActions) {
  EXPECT_GRADUS_ERROR(
      discrete_actions({.id = "pendulum", .observation_space = {}, .action_space = env::Box{.low = {-2}, .high = {2}}}),
      invalid_argument, "pendulum: the actions are Box(1)");
}

}  // namespace
}  // namespace gradus::rl
