// What the tests of agents that learn by steps share.
#pragma once

#include <algorithm>
#include <memory>
#include <string_view>

#include "gradus/env/pendulum.h"
#include "gradus/rl/deep/deep_agent.h"
#include "tests/kernels/grid.h"
#include "tests/rl/tabular_case.h"

namespace gradus::rl {

inline const DeepAlgorithm& deep_algorithm(std::string_view name) {
  return *std::ranges::find(deep_algorithms(), name, &DeepAlgorithm::name);
}

inline std::unique_ptr<Agent> make_by_steps(std::string_view algorithm, const env::EnvFactory& make,
                                            const DeepConfig& config, uint64_t seed = 1) {
  return deep_algorithm(algorithm).by_steps(make, config, seed);
}

inline env::EnvFactory factory_of(const std::shared_ptr<const env::FiniteMdp>& mdp, int64_t max_episode_steps) {
  return [=] { return std::make_unique<env::FiniteEnv>(env_of(mdp, max_episode_steps)); };
}

// A task with actions that the algorithm can take: a small one with states, or the pendulum.
inline env::EnvFactory task_for(std::string_view algorithm, int64_t max_episode_steps = 20) {
  if (deep_algorithm(algorithm).acts != Acts::box) {
    return factory_of(random_mdp({.seed = 6, .least_actions = 2, .deviation = 0.5}), max_episode_steps);
  }
  return [=] { return std::make_unique<env::TimeLimit>(std::make_unique<env::Pendulum>(), max_episode_steps); };
}

// Names and bits.
inline bool same_state(const NamedTensors& a, const NamedTensors& b) {
  return std::ranges::equal(
      a, b, [](const auto& x, const auto& y) { return x.first == y.first && kernels::same_bits(x.second, y.second); });
}

// NaN if it was not measured.
inline double metric(const TrainingStats& stats, std::string_view name) {
  for (const auto& [key, value] : stats.metrics()) {
    if (key == name) return value;
  }
  return NAN;
}

}  // namespace gradus::rl
