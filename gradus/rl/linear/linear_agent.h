// The linear algorithms as Agents, and their list.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "gradus/env/env.h"
#include "gradus/rl/agent.h"
#include "gradus/rl/linear/features.h"
#include "gradus/rl/tabular/learner.h"

namespace gradus::rl {

struct LinearAlgorithm {
  std::string_view name, description, source;
  Learns learns;
};
const std::vector<LinearAlgorithm>& linear_algorithms();

// A linear algorithm of the list in an environment. Features are made of observations; of a finite environment, of
// where its states lie (coordinates.h). The settings `alpha`, `gamma`, `eps`, and for prediction `policy` and
// `policy_eps`, are those of LearnerConfig (with tiles the tilings share alpha); prediction needs a finite environment.
// Throws invalid_argument on what does not fit.
std::unique_ptr<EpisodeAgent> make_linear_agent(std::string_view algorithm, std::unique_ptr<env::Env> env,
                                                const FeaturesConfig& features, const LearnerConfig& config);

}  // namespace gradus::rl
