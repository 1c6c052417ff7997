#include "gradus/env/finite_env.h"

#include "gradus/core/error.h"
#include "gradus/env/grid_frame.h"

namespace gradus::env {

FiniteEnv::FiniteEnv(std::shared_ptr<const FiniteMdp> mdp, Config config)
    : mdp_(std::move(mdp)),
      spec_{.id = std::move(config.id),
            .observation_space = Discrete{.n = mdp_->n_states()},
            .action_space = Discrete{.n = mdp_->n_actions()},
            .max_episode_steps = config.max_episode_steps,
            .reward_threshold = config.reward_threshold},
      n_states_(mdp_->n_states()),
      n_actions_(mdp_->n_actions()),
      limit_(config.max_episode_steps) {
  require(limit_ >= 0, "{}: max_episode_steps is {}, but must not be negative", spec_.id, limit_);
  for (int64_t s = 0; s < n_states_; ++s) {
    for (int64_t a = 0; a < n_actions_; ++a) {
      Row row{.first = {}, .more = static_cast<uint32_t>(outcomes_.size())};
      bool any = false;
      for (const Outcome& o : mdp_->outcomes(s, a)) {
        if (o.probability == 0) continue;
        if (any) outcomes_.push_back(o);
        if (!any) row.first = o;
        any = true;
      }
      row.n_more = static_cast<uint32_t>(outcomes_.size()) - row.more;
      rows_.push_back(row);
    }
  }
}

int32_t FiniteEnv::begin(Rng& rng) {
  const std::span<const double> start = mdp_->start();
  double u = rng.uniform();
  int32_t s = 0, last = 0;
  for (; s < n_states_; ++s) {
    const double p = start[static_cast<size_t>(s)];
    if (p > 0) last = s;
    if (u < p) break;
    u -= p;
  }
  return begin_at(s < n_states_ ? s : last);
}

Observation FiniteEnv::reset(std::optional<uint64_t> seed, const Options& options) {
  std::optional<int32_t> first;
  for (const auto& [key, value] : options) {
    require(key == "state", "{}: reset: no option '{}'; 'state' is known", spec_.id, key);
    require(contains(spec_.observation_space, {&value, 1}), "{}: reset: state is {}, but there are {} states", spec_.id,
            value, n_states_);
    first = static_cast<int32_t>(value);
  }
  rng_ = episodes_.next(seed);
  observation_ = first ? begin_at(*first) : begin(rng_);
  over_ = mdp_->is_terminal(state_);
  return {&observation_, 1};
}

StepResult FiniteEnv::step(std::span<const double> action) {
  require(!over_, "{}: step: the episode is over; reset first", spec_.id);
  require(contains(spec_.action_space, action), "{}: step: the action {} is not in {}", spec_.id,
          action.empty() ? 0.0 : action[0], to_string(spec_.action_space));
  const Move m = move(static_cast<int64_t>(action[0]), rng_);
  observation_ = m.next;
  over_ = m.terminated || m.truncated;
  return {.observation = {&observation_, 1}, .reward = m.reward, .terminated = m.terminated, .truncated = m.truncated};
}

std::optional<Frame> FiniteEnv::frame() const {
  if (!mdp_->picture()) return {};
  return grid_frame(*mdp_->picture(), state_);
}

}  // namespace gradus::env
