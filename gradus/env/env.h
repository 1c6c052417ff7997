// An environment, with the names and the meaning of Gymnasium 1.x. Observations and actions are spans of doubles, as
// their spaces say (space.h).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "gradus/core/rng.h"
#include "gradus/env/frame.h"
#include "gradus/env/space.h"

namespace gradus::env {

struct EnvSpec {
  std::string id;
  Space observation_space, action_space;
  int64_t max_episode_steps = 0;             // 0: no limit
  std::optional<double> reward_threshold{};  // the mean return at which the task counts as solved
};

using Observation = std::span<const double>;  // valid until the environment's next reset or step
using Info = std::span<const std::pair<std::string_view, double>>;
using Options = std::map<std::string, double>;

// `terminated`: the task itself has ended, nothing follows. `truncated`: it was cut, by a time limit, and the
// observation is one that more would follow, so its value counts. Both may be true.
struct StepResult {
  Observation observation;
  double reward = 0;
  bool terminated = false, truncated = false;
  Info info{};
};

class FiniteEnv;

// One episode at a time, by one thread at a time.
class Env {
 public:
  virtual ~Env() = default;
  virtual const EnvSpec& spec() const = 0;

  // Begins an episode. With a seed, the environment's episodes from here on are those of that seed; without one it goes
  // on to the next. Same seed, options and actions: same bits. Throws invalid_argument on an option that the
  // environment does not know.
  virtual Observation reset(std::optional<uint64_t> seed = {}, const Options& options = {}) = 0;

  // Throws invalid_argument on an action outside the space, or after an episode's end.
  virtual StepResult step(std::span<const double> action) = 0;

  // This environment as the table that defines it, for what plans or keeps a value per state; null if it has none.
  virtual FiniteEnv* finite() { return nullptr; }

  // A picture of the state after the last call; none where the environment does not draw itself.
  virtual std::optional<Frame> frame() const { return {}; }
};

// The random stream of each episode of an environment, named by (seed, episode).
class EpisodeRng {
 public:
  Rng next(std::optional<uint64_t> seed) {
    if (seed) *this = EpisodeRng(*seed);
    return Rng(seed_, Purpose::environment, episode_++);
  }
  EpisodeRng() = default;

 private:
  explicit EpisodeRng(uint64_t seed) : seed_(seed) {}
  uint64_t seed_ = 0, episode_ = 0;
};

// Sets `truncated` once an episode has taken `max_episode_steps` steps.
class TimeLimit : public Env {
 public:
  // Throws invalid_argument unless max_episode_steps >= 1.
  TimeLimit(std::unique_ptr<Env> env, int64_t max_episode_steps);

  const EnvSpec& spec() const override { return spec_; }
  Observation reset(std::optional<uint64_t> seed, const Options& options) override;
  StepResult step(std::span<const double> action) override;
  std::optional<Frame> frame() const override { return env_->frame(); }

 private:
  std::unique_ptr<Env> env_;
  EnvSpec spec_;
  int64_t steps_ = 0;
};

}  // namespace gradus::env
