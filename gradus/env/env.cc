#include "gradus/env/env.h"

#include "gradus/core/error.h"

namespace gradus::env {

TimeLimit::TimeLimit(std::unique_ptr<Env> env, int64_t max_episode_steps) : env_(std::move(env)), spec_(env_->spec()) {
  require(max_episode_steps >= 1, "{}: max_episode_steps is {}, but must be at least 1", spec_.id, max_episode_steps);
  spec_.max_episode_steps = max_episode_steps;
}

Observation TimeLimit::reset(std::optional<uint64_t> seed, const Options& options) {
  const Observation first = env_->reset(seed, options);
  steps_ = 0;
  return first;
}

StepResult TimeLimit::step(std::span<const double> action) {
  require(steps_ < spec_.max_episode_steps, "{}: step: the episode is over; reset first", spec_.id);
  StepResult result = env_->step(action);
  result.truncated |= ++steps_ >= spec_.max_episode_steps;
  return result;
}

}  // namespace gradus::env
