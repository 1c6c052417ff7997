// The algorithms whose values are networks, as Agents, and their list. One is a file here and a line in algorithms.def.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "gradus/env/env.h"
#include "gradus/rl/agent.h"
#include "gradus/rl/deep/network_config.h"
#include "gradus/rl/tabular/learner.h"

namespace gradus::rl {

// Of LearnerConfig they use gamma and what says how to act: eps, policy, behaviour and what belongs to these.
struct DeepConfig {
  LearnerConfig learner;
  NetworkConfig network;
  ReplayConfig replay;
};

// A line of algorithms.def.
struct DeepAlgorithm {
  std::string_view name, description, source;
  Learns learns;
  // Throws invalid_argument on settings out of range and an environment that does not fit.
  std::unique_ptr<EpisodeAgent> (*make)(std::unique_ptr<env::Env>, const DeepConfig&, uint64_t seed);
};
const std::vector<DeepAlgorithm>& deep_algorithms();

}  // namespace gradus::rl
