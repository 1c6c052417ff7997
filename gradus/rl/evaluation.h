// How good a trained policy is, without learning: greedy episodes in its environment.
#pragma once

#include <cstdint>
#include <vector>

#include "gradus/rl/tabular/trial.h"
#include "gradus/rl/train.h"

namespace gradus::rl {

struct PlayedStep {
  int32_t state = 0, next = 0;
  int64_t action = 0;
  double reward = 0;
  bool terminated = false, truncated = false;
};

// One greedy episode: until it ends, or `most_steps`. Ties are broken at random. `trained` must have learned Q.
std::vector<PlayedStep> play_episode(const Trained& trained, uint64_t seed, int64_t most_steps);

struct EpisodesOf {
  int64_t episodes = 0;
  MeanOfSeeds total_reward, length;  // means over episodes
  double terminated_share = 0;
};

// `episodes` greedy ones, of seeds of their own, each of at most `most_steps` steps.
EpisodesOf evaluate_greedy(const Trained& trained, uint64_t seed, int64_t episodes, int64_t most_steps);

}  // namespace gradus::rl
