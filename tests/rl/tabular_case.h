// What the tests of tabular learners share: a training in one call, and the smallest continuing environment.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "gradus/rl/trial.h"
#include "tests/rl/random_mdp.h"

namespace gradus::rl {

// Of the algorithms that learn this: all, or those that bootstrap.
inline std::vector<std::string> names_of(Learns what, bool all = true) {
  std::vector<std::string> names;
  for (const TabularAlgorithm& a : tabular_algorithms()) {
    if (a.learns == what && (all || !a.name.starts_with("mc"))) names.emplace_back(a.name);
  }
  return names;
}

// "mc-prediction" as a part of a test's name.
inline std::string test_name(const ::testing::TestParamInfo<std::string>& test) {
  std::string name = test.param;
  std::ranges::replace(name, '-', '_');
  return name;
}

inline Trial trained(const env::FiniteEnv& env, std::string_view algorithm, const LearnerConfig& c, int64_t episodes,
                     uint64_t seed = 1) {
  Trial trial(env, algorithm, c, seed);
  trial.run(episodes);
  return trial;
}

// One state and one action, for a reward of 1, with a limit of one step. It leads back, or terminates.
inline env::FiniteEnv one_step_env(bool terminates) {
  env::FiniteMdp::Definition d{.n_states = 1, .n_actions = 1, .start = {1}};
  d.outcomes = {{{.next = 0, .terminated = terminates, .reward = 1}}};
  return env_of(std::make_shared<const env::FiniteMdp>(std::move(d)), 1);
}

}  // namespace gradus::rl
