// The algorithms whose values or policies are networks: their list. One is a file here and a line in algorithms.def.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "gradus/env/vec_env.h"
#include "gradus/rl/agent.h"
#include "gradus/rl/deep/deep_config.h"

namespace gradus::rl {

// The actions that an algorithm can take.
enum class Acts { any, discrete, box };

// A line of algorithms.def: one of the two functions. Both throw invalid_argument on settings out of range and an
// environment that does not fit.
struct DeepAlgorithm {
  std::string_view name, description, source;
  Learns learns;
  Acts acts;
  std::unique_ptr<EpisodeAgent> (*by_episodes)(std::unique_ptr<env::Env>, const DeepConfig&, uint64_t seed);
  std::unique_ptr<Agent> (*by_steps)(const env::EnvFactory&, const DeepConfig&, uint64_t seed);
};
const std::vector<DeepAlgorithm>& deep_algorithms();

bool can_act(const DeepAlgorithm& algorithm, const env::Space& actions);

}  // namespace gradus::rl
