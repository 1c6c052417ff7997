// An algorithm in its environment: what trains, whatever its values are made of. Trials train agents (trial.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gradus/core/rng.h"
#include "gradus/core/safetensors.h"
#include "gradus/rl/episode_stats.h"
#include "gradus/rl/tabular/table.h"

namespace gradus::rl {

// A step of an episode that is only watched.
struct PlayedStep {
  std::string state, action, next;  // for people
  double reward = 0;
  bool terminated = false, truncated = false;
};

class Agent {
 public:
  virtual ~Agent() = default;

  // One episode of experience, learned from. All randomness comes from rng. Throws diverged.
  virtual EpisodeStats episode(Rng& rng) = 0;

  // Of each state of a finite environment; empty in another.
  virtual std::vector<double> V() = 0;  // [n_states]
  virtual Table Q() = 0;                // [n_states, n_actions]; empty, too, if it learns no action values

  // All that lasts from episode to episode, by name, for checkpoints. Valid until the next episode.
  virtual NamedTensors state() = 0;
  // Goes on from the state of an agent of the same configuration. Throws corrupt on a tensor that is missing or has
  // another shape.
  virtual void restore(const NamedTensors& state) = 0;

  // Whether it has a policy of its own; else it learns the values of a given one.
  virtual bool has_policy() const = 0;
  // One greedy episode without learning: until it ends, or `most_steps`. Ties are broken at random. Of an agent with a
  // policy.
  virtual std::vector<PlayedStep> play(Rng& rng, int64_t most_steps) = 0;
};

}  // namespace gradus::rl
