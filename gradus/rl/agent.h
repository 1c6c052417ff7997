// An algorithm in its environment: what trains, whatever its values are made of.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "gradus/core/rng.h"
#include "gradus/core/safetensors.h"
#include "gradus/env/env.h"
#include "gradus/rl/episode_stats.h"
#include "gradus/rl/tabular/table.h"
#include "gradus/rl/training_stats.h"

namespace gradus::rl {

// A step of an episode that is only watched.
struct PlayedStep {
  std::string state, action, next;  // for people
  double reward = 0;
  bool terminated = false, truncated = false;
};

// Sees the environment of an episode after its reset and after each step.
using Watch = std::function<void(const env::Env& env)>;

class Agent {
 public:
  virtual ~Agent() = default;

  // What training is counted in: whole episodes, or steps of the environment.
  enum class Unit { episodes, steps };
  virtual Unit unit() const = 0;

  // Trains on from `done` to `until` units, or, where it works in larger portions, a little further; returns how far it
  // got. The same seed gives the same bits, however it is cut. Throws diverged.
  virtual int64_t train(int64_t done, int64_t until, uint64_t seed, TrainingStats& stats) = 0;

  // Of each state of a finite environment; empty in another.
  virtual std::vector<double> V() = 0;  // [n_states]
  virtual Table Q() = 0;                // [n_states, n_actions]; empty, too, if it learns no action values
  // pi(a|s) of a policy that is not greedy by Q; else empty.
  virtual Table pi() { return {}; }  // [n_states, n_actions]

  // All that lasts, by name, for checkpoints. Valid until it trains on.
  virtual NamedTensors state() = 0;
  // Goes on from the state of an agent of the same configuration. Throws corrupt on a tensor that is missing or has
  // another shape.
  virtual void restore(const NamedTensors& state) = 0;

  // Whether it has a policy of its own; else it learns the values of a given one.
  virtual bool has_policy() const = 0;
  // One greedy episode without learning: until it ends, or `most_steps`. Ties are broken at random. Of an agent with a
  // policy.
  virtual std::vector<PlayedStep> play(Rng& rng, int64_t most_steps, const Watch& watch = {}) = 0;
};

// One that learns episode by episode. Trials train many of them (trial.h).
class EpisodeAgent : public Agent {
 public:
  // One episode of experience, learned from. All randomness comes from rng. Throws diverged.
  virtual EpisodeStats episode(Rng& rng) = 0;

  Unit unit() const final { return Unit::episodes; }
  int64_t train(int64_t done, int64_t until, uint64_t seed, TrainingStats& stats) final {
    for (; done < until; ++done) {
      Rng rng(seed, Purpose::sample, static_cast<uint64_t>(done));
      stats.add(episode(rng));
    }
    return done;
  }
};

}  // namespace gradus::rl
