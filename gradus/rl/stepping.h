// What algorithms that see observations need of an environment. A concrete environment is called as itself, inline
// where it can be; an env::Env through its virtual functions.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>

#include "gradus/core/error.h"
#include "gradus/env/env.h"
#include "gradus/rl/episode_stats.h"

namespace gradus::rl {

template <class E>
concept Environment = requires(E& e, std::span<const double> action) {
  { e.spec() } -> std::convertible_to<const env::EnvSpec&>;
  { e.reset({}, {}) } -> std::convertible_to<env::Observation>;
  { e.step(action) } -> std::convertible_to<env::StepResult>;
};

// Throws invalid_argument unless the actions are numbers 0 .. n - 1, whatever their first is.
inline env::Discrete discrete_actions(const env::EnvSpec& spec) {
  const auto* actions = std::get_if<env::Discrete>(&spec.action_space);
  require(actions != nullptr, "{}: the actions are {}, but action values need Discrete ones", spec.id,
          to_string(spec.action_space));
  return *actions;
}

// Takes the action number a, counted from 0.
template <Environment E>
env::StepResult take(E& env, const env::Discrete& actions, int64_t a) {
  const auto element = static_cast<double>(actions.start + a);
  return env.step({&element, 1});
}

// An environment whose episodes draw from the one stream of each training episode.
struct EpisodeEnv {
  env::Env& env;
  Rng& rng;
  const env::EnvSpec& spec() const { return env.spec(); }
  env::Observation reset(std::optional<uint64_t>, const env::Options&) { return env.reset(rng.bits64(), {}); }
  env::StepResult step(std::span<const double> action) { return env.step(action); }
};

}  // namespace gradus::rl
