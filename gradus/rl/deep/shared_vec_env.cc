#include "gradus/rl/deep/shared_vec_env.h"

#include <algorithm>
#include <cstring>

#include "gradus/core/error.h"

namespace gradus::rl {

namespace {

// visit(column, numbers of an environment) for each column of `rows`; of VecRows, and of a VecStep.
template <class Rows, class Visit>
void for_columns(Rows& rows, int64_t observation_size, Visit&& visit) {
  visit(rows.observations, observation_size);
  visit(rows.final_observations, observation_size);
  visit(rows.rewards, 1);
  visit(rows.episode_returns, 1);
  visit(rows.episode_lengths, 1);
  visit(rows.terminated, 1);
  visit(rows.truncated, 1);
  visit(rows.is_reset, 1);
}

int64_t bytes_of_environment(int64_t observation_size) {
  int64_t bytes = 0;
  const env::VecStep none;
  for_columns(none, observation_size,
              [&](const auto& column, int64_t width) { bytes += static_cast<int64_t>(sizeof(column[0])) * width; });
  return bytes;
}

// A state as bytes: its vectors with their sizes in front.
template <class T>
void append(const std::vector<T>& values, std::string& bytes) {
  const uint64_t n = values.size();
  bytes.append(reinterpret_cast<const char*>(&n), sizeof n);
  bytes.append(reinterpret_cast<const char*>(values.data()), n * sizeof(T));
}
template <class T>
void take(std::string_view& bytes, std::vector<T>& values) {
  uint64_t n = 0;
  GRADUS_CHECK(bytes.size() >= sizeof n);
  std::memcpy(&n, bytes.data(), sizeof n);
  bytes.remove_prefix(sizeof n);
  GRADUS_CHECK(bytes.size() / sizeof(T) >= n);
  const size_t first = values.size();
  values.resize(first + n);
  if (n > 0) std::memcpy(values.data() + first, bytes.data(), n * sizeof(T));
  bytes.remove_prefix(n * sizeof(T));
}

}  // namespace

SharedVecEnv::SharedVecEnv(const env::EnvFactory& make, const env::VecConfig& config, run::Ranks& ranks)
    : config_(config),
      ranks_(ranks),
      example_(make()),
      bounds_(run::even_parts(config.num_envs, ranks.size())),
      rows_(config.num_envs, size_of(example_->spec().observation_space)) {
  require(num_batches() == 1, "batch_size is {}, but ranks step all {} environments at once", config.batch_size,
          config.num_envs);
  env::VecConfig mine = config;
  mine.batch_size = 0;
  mine.num_envs = n_own();
  mine.num_threads = static_cast<int>(std::min<int64_t>(config.num_threads, std::max<int64_t>(1, n_own())));
  mine.first_env = config.first_env + begin_of(ranks.rank());
  if (mine.num_envs > 0) own_envs_ = env::make_vec_env(make, mine);
  for (const int64_t b : bounds_) packed_bounds_.push_back(b * bytes_of_environment(observation_size()));
  packed_.resize(static_cast<size_t>(packed_bounds_.back()));
}

template <class T>
std::span<const T> SharedVecEnv::own(std::span<const T> all, int64_t width) const {
  return all.subspan(static_cast<size_t>(begin_of(ranks_.rank()) * width), static_cast<size_t>(n_own() * width));
}

std::span<const float> SharedVecEnv::gather_observations(std::span<const float> mine) {
  std::vector<int64_t> bounds = bounds_;
  for (int64_t& b : bounds) b *= observation_size();
  std::ranges::copy(mine, rows_.observations.begin() + bounds[static_cast<size_t>(ranks_.rank())]);
  ranks_.group().all_gather(std::span(rows_.observations), bounds);
  return rows_.observations;
}

std::span<const float> SharedVecEnv::reset(std::optional<uint64_t> seed) {
  return gather_observations(own_envs_ ? own_envs_->reset(seed) : std::span<const float>());
}

std::span<const float> SharedVecEnv::reset_where(std::span<const uint8_t> mask) {
  require(static_cast<int64_t>(mask.size()) == num_envs(),
          "reset_where: the mask has {} entries, but there are {} environments", mask.size(), num_envs());
  return gather_observations(own_envs_ ? own_envs_->reset_where(own(mask)) : std::span<const float>());
}

void SharedVecEnv::send(std::span<const float> actions) {
  require(static_cast<int64_t>(actions.size()) == num_envs() * action_size(),
          "send: there are {} numbers, but {} environments take {} each", actions.size(), num_envs(), action_size());
  if (own_envs_) own_envs_->send(own(actions, action_size()));
}

env::VecStep SharedVecEnv::recv() {
  // 1. This rank's rows, column by column, one behind the other.
  if (own_envs_) {
    std::byte* to = packed_.data() + packed_bounds_[static_cast<size_t>(ranks_.rank())];
    const env::VecStep mine = own_envs_->recv();
    for_columns(mine, observation_size(), [&](const auto& column, int64_t) {
      std::memcpy(to, column.data(), column.size_bytes());
      to += column.size_bytes();
    });
  }
  // 2. Everybody's.
  const std::span bytes(reinterpret_cast<uint8_t*>(packed_.data()), packed_.size());
  ranks_.group().all_gather(bytes, packed_bounds_);
  // 3. Each rank's columns to their places.
  const std::byte* from = packed_.data();
  for (int r = 0; r < ranks_.size(); ++r) {
    for_columns(rows_, observation_size(), [&](auto& column, int64_t width) {
      const auto n = static_cast<size_t>((begin_of(r + 1) - begin_of(r)) * width) * sizeof(column[0]);
      if (n > 0) std::memcpy(column.data() + begin_of(r) * width, from, n);
      from += n;
    });
  }
  return rows_.view(0, num_envs());
}

env::VecStep SharedVecEnv::step(std::span<const float> actions) {
  send(actions);
  return recv();
}

env::VecState SharedVecEnv::state() const {
  std::string mine;
  if (own_envs_) {
    const env::VecState s = own_envs_->state();
    append(std::vector{s.seed}, mine);
    append(s.episodes, mine);
    append(s.lengths, mine);
    append(s.actions, mine);
    append(s.observations, mine);
  }
  env::VecState all;
  for (const std::string& theirs : ranks_.gather(mine)) {
    if (theirs.empty()) continue;
    std::string_view bytes = theirs;
    std::vector<uint64_t> seed;
    take(bytes, seed);
    all.seed = seed.front();
    take(bytes, all.episodes);
    take(bytes, all.lengths);
    take(bytes, all.actions);
    take(bytes, all.observations);
  }
  return all;
}

void SharedVecEnv::restore(const env::VecState& s) {
  const auto n = static_cast<size_t>(num_envs());
  require(s.episodes.size() == n && s.lengths.size() == n && s.observations.size() == rows_.observations.size(),
          "restore: the state is of {} environments, but it must be of {}", s.episodes.size(), n);
  int64_t before = 0, all = 0, mine = 0;  // steps of environments before this rank's, of all, and of its own
  for (int64_t i = 0; i < num_envs(); ++i) {
    const int64_t length = s.lengths[static_cast<size_t>(i)];
    require(length >= 0, "restore: environment {} has made {} steps", i, length);
    all += length;
    if (i < begin_of(ranks_.rank())) before += length;
    if (i >= begin_of(ranks_.rank()) && i < begin_of(ranks_.rank() + 1)) mine += length;
  }
  require(static_cast<int64_t>(s.actions.size()) == all * action_size(),
          "restore: the state has {} numbers of actions, but it must have {}", s.actions.size(), all * action_size());
  std::ranges::copy(s.observations, rows_.observations.begin());
  if (!own_envs_) return;
  const auto vector = [](const auto& part) { return std::vector(part.begin(), part.end()); };
  own_envs_->restore({.seed = s.seed,
                      .next_batch = 0,
                      .episodes = vector(own(std::span(s.episodes))),
                      .lengths = vector(own(std::span(s.lengths))),
                      .actions = vector(std::span(s.actions).subspan(static_cast<size_t>(before * action_size()),
                                                                     static_cast<size_t>(mine * action_size()))),
                      .observations = vector(own(std::span(s.observations), observation_size()))});
}

}  // namespace gradus::rl
