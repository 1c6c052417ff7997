#include "gradus/env/env_slot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "gradus/core/error.h"

namespace gradus::env {

namespace {

double first_of(const Space& space) {
  const Discrete* d = std::get_if<Discrete>(&space);
  return d == nullptr ? 0.0 : static_cast<double>(d->start);
}

// Steps of an episode for which there is room from the start.
constexpr int64_t kRoomForSteps = 1024;

}  // namespace

// Streams of EpisodeRng have position 0, these all others.
uint64_t episode_seed(uint64_t seed, int64_t env, uint64_t episode) {
  return Rng(seed, Purpose::environment, static_cast<uint64_t>(env), static_cast<uint32_t>(episode) + 1).bits64();
}

VecRows::VecRows(int64_t n, int64_t observation_size)
    : observations(static_cast<size_t>(n * observation_size)),
      final_observations(observations.size()),
      rewards(static_cast<size_t>(n)),
      episode_returns(rewards.size()),
      terminated(rewards.size()),
      truncated(rewards.size()),
      is_reset(rewards.size()),
      episode_lengths(rewards.size()) {}

VecStep VecRows::view(int64_t first_row, int64_t n_rows) const {
  const size_t size = observations.size() / rewards.size();
  const auto first = static_cast<size_t>(first_row), n = static_cast<size_t>(n_rows);
  const auto rows = [&](const auto& column) { return std::span(column).subspan(first, n); };
  const auto elements = [&](const auto& column) { return std::span(column).subspan(first * size, n * size); };
  return {.first = first_row,
          .observations = elements(observations),
          .rewards = rows(rewards),
          .terminated = rows(terminated),
          .truncated = rows(truncated),
          .is_reset = rows(is_reset),
          .final_observations = elements(final_observations),
          .episode_returns = rows(episode_returns),
          .episode_lengths = rows(episode_lengths)};
}

EnvSlot::EnvSlot(std::unique_ptr<Env> env, int64_t index, const VecConfig& config)
    : env_(std::move(env)),
      index_(index),
      number_(config.first_env + index),
      autoreset_(config.autoreset),
      resumable_(config.resumable),
      box_(std::get_if<Box>(&spec().action_space)),
      first_action_(first_of(spec().action_space)),
      first_observation_(first_of(spec().observation_space)),
      observation_size_(static_cast<size_t>(size_of(spec().observation_space))),
      action_(static_cast<size_t>(size_of(spec().action_space))) {
  const int64_t limit = spec().max_episode_steps;
  const int64_t room = limit == 0 ? kRoomForSteps : std::min(limit, kRoomForSteps);
  if (resumable_) actions_.reserve(static_cast<size_t>(room) * action_.size());
}

// Runs f and says where an error came from.
template <class F>
void EnvSlot::with_place(F&& f) const {
  try {
    f();
  } catch (const Error& e) {
    fail(e.code(), "environment {}, episode {}, step {}: {}", number_, episode_, length_, e.what());
  }
}

void EnvSlot::reset(std::optional<uint64_t> seed, VecRows& rows) {
  if (seed) {
    seed_ = *seed;
    begun_ = false;
  }
  episode_ = begun_ ? episode_ + 1 : 0;
  with_place([&] { begin(rows); });
}

void EnvSlot::step(const float* action, VecRows& rows) {
  with_place([&] {
    const auto i = static_cast<size_t>(index_);
    const bool begins = over_ && autoreset_ == Autoreset::next_step;
    rows.is_reset[i] = begins;
    if (begins) {
      ++episode_;
      begin(rows);
      rows.rewards[i] = 0;
      rows.terminated[i] = rows.truncated[i] = 0;
      return;
    }
    require(!over_, "step: the episode is over; reset_where first");
    const StepResult r = move(action);
    float* observation = &rows.observations[i * observation_size_];
    write(r.observation, observation);
    rows.rewards[i] = r.reward;
    rows.terminated[i] = r.terminated;
    rows.truncated[i] = r.truncated;
    if (!over_) return;
    std::copy_n(observation, observation_size_, &rows.final_observations[i * observation_size_]);
    rows.episode_returns[i] = return_;
    rows.episode_lengths[i] = length_;
    if (autoreset_ != Autoreset::same_step) return;
    ++episode_;
    begin(rows);
  });
}

void EnvSlot::replay(uint64_t seed, uint64_t episode, std::span<const float> actions, VecRows& rows) {
  seed_ = seed;
  episode_ = episode;
  with_place([&] {
    begin(rows);
    for (size_t k = 0; k < actions.size(); k += action_.size()) {
      if (over_)
        fail(ErrorCode::corrupt, "restore: the episode ended earlier than it did; is it the same environment?");
      write(move(&actions[k]).observation, &rows.observations[static_cast<size_t>(index_) * observation_size_]);
    }
  });
}

void EnvSlot::begin(VecRows& rows) {
  begun_ = true;
  over_ = true;  // until it has begun
  return_ = 0;
  length_ = 0;
  actions_.clear();
  const Observation first = env_->reset(episode_seed(seed_, number_, episode_));
  write(first, &rows.observations[static_cast<size_t>(index_) * observation_size_]);
  over_ = false;
}

// One step of the environment, counted and kept.
StepResult EnvSlot::move(const float* action) {
  for (size_t j = 0; j < action_.size(); ++j) {
    if (resumable_) actions_.push_back(action[j]);
    action_[j] = first_action_ + static_cast<double>(action[j]);
    if (box_ == nullptr) continue;
    for (const double bound : {box_->low[j], box_->high[j]}) {
      if (action[j] == static_cast<float>(bound)) action_[j] = bound;
    }
  }
  ++length_;
  const StepResult r = env_->step(action_);
  if (!std::isfinite(static_cast<float>(r.reward))) fail_not_finite("reward", r.reward);
  return_ += r.reward;
  over_ = r.terminated || r.truncated;
  return r;
}

void EnvSlot::write(Observation from, float* to) const {
  require(from.size() == observation_size_, "the observation has {} numbers, but its space has {}", from.size(),
          observation_size_);
  bool finite = true;
  for (size_t j = 0; j < observation_size_; ++j) {
    to[j] = static_cast<float>(from[j] - first_observation_);
    finite &= std::isfinite(to[j]);
  }
  if (finite) [[likely]]
    return;
  for (size_t j = 0; j < observation_size_; ++j) {
    if (!std::isfinite(to[j])) fail_not_finite(fmt::format("observation[{}]", j), from[j]);
  }
}

void EnvSlot::fail_not_finite(std::string_view what, double value) const {
  fail(ErrorCode::diverged, "{} is {}; `gradus check-env` finds out more", what, value);
}

}  // namespace gradus::env
