// How good a trained policy is, without learning: greedy episodes in its environment.
#pragma once

#include <cstdint>

#include "gradus/rl/agent.h"
#include "gradus/rl/trial.h"
#include "gradus/run/ranks.h"

namespace gradus::rl {

struct EpisodesOf {
  int64_t episodes = 0;
  MeanOfSeeds total_reward, length;  // means over episodes
  double terminated_share = 0;
};

// Greedy episodes first, first + 1, ... of the seed, each from a stream of its own and of at most `most_steps` steps.
// The agent must have a policy. Several ranks play their share of the episodes each; then it is collective.
EpisodesOf evaluate_greedy(Agent& agent, uint64_t seed, int64_t episodes, int64_t most_steps, int64_t first = 0,
                           run::Ranks* ranks = nullptr);

}  // namespace gradus::rl
