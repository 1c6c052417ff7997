#include "gradus/env/thread_vec_env.h"

#include <algorithm>
#include <bit>

#include "gradus/core/error.h"

namespace gradus::env {

namespace {

// So that a thread that is done early finds something left to do.
constexpr int64_t kChunksPerThread = 4;

std::vector<EnvSlot> make_slots(const EnvFactory& make, const VecConfig& c) {
  require(c.num_envs >= 1 && c.num_envs <= 1'000'000, "num_envs is {}, but must be 1 to a million", c.num_envs);
  require(c.batch_size >= 0 && (c.batch_size == 0 || c.num_envs % c.batch_size == 0),
          "batch_size is {}, but must divide num_envs, which is {}", c.batch_size, c.num_envs);
  std::vector<EnvSlot> slots;
  slots.reserve(static_cast<size_t>(c.num_envs));
  for (int64_t i = 0; i < c.num_envs; ++i) {
    slots.emplace_back(make(), i, c);
    const EnvSpec &first = slots.front().spec(), &spec = slots.back().spec();
    require(spec.observation_space == first.observation_space && spec.action_space == first.action_space,
            "environment {} has other spaces than environment 0; make all of one kind", i);
  }
  return slots;
}

// The state is equal bit by bit where this is.
bool same_bits(std::span<const float> a, std::span<const float> b) {
  return std::ranges::equal(a, b, {}, std::bit_cast<uint32_t, float>, std::bit_cast<uint32_t, float>);
}

}  // namespace

ThreadVecEnv::ThreadVecEnv(const EnvFactory& make, const VecConfig& config)
    : config_(config),
      slots_(make_slots(make, config)),
      rows_(num_envs(), observation_size()),
      actions_(static_cast<size_t>(num_envs() * action_size())),
      first_action_(slots_.size()) {
  const int64_t wanted = config.num_threads > 1 ? config.num_threads * kChunksPerThread : 1;
  const int64_t chunk_size = (batch_size() + wanted - 1) / wanted;
  chunks_per_batch_ = (batch_size() + chunk_size - 1) / chunk_size;
  for (int64_t batch = 0; batch < num_envs(); batch += batch_size()) {
    for (int64_t i = 0; i < batch_size(); i += chunk_size) {
      chunks_.push_back({batch + i, batch + std::min(i + chunk_size, batch_size())});
    }
  }
  workers_ = std::make_unique<runtime::OrderedWorkers>(
      "env", config.num_threads, chunks_.size(),
      [this](uint64_t item) { work(chunks_[(item - first_item_) % chunks_.size()]); });
}

void ThreadVecEnv::work(Chunk& chunk) {
  try {
    for (int64_t i = chunk.begin; i < chunk.end; ++i) {
      const auto k = static_cast<size_t>(i);
      EnvSlot& slot = slots_[k];
      switch (task_) {
        case Task::step:
          slot.step(&actions_[k * static_cast<size_t>(action_size())], rows_);
          break;
        case Task::reset:
          slot.reset(new_seed_, rows_);
          break;
        case Task::reset_where:
          if (mask_[k] != 0) slot.reset({}, rows_);
          break;
        case Task::replay: {
          const auto n = static_cast<size_t>(state_->lengths[k] * action_size());
          slot.replay(seed_, state_->episodes[k], std::span(state_->actions).subspan(first_action_[k], n), rows_);
          break;
        }
      }
    }
  } catch (...) {
    chunk.error = std::current_exception();
  }
}

void ThreadVecEnv::require_ready(std::string_view what) const {
  require(ready_, "{}: reset first", what);
}

void ThreadVecEnv::require_none_under_way(std::string_view what) const {
  require(n_under_way_ == 0, "{}: {} batches are under way; receive them first", what, n_under_way_);
}

// All chunks at once, from the first.
void ThreadVecEnv::work_all(Task task) {
  workers_->finish(workers_->end());
  for (Chunk& chunk : chunks_) chunk.error = nullptr;
  n_under_way_ = 0;
  set_turn(0);
  task_ = task;
  workers_->append(chunks_.size());
  workers_->finish(workers_->end());
  task_ = Task::step;
  ready_ = true;
  rethrow(0, static_cast<int64_t>(chunks_.size()));
}

void ThreadVecEnv::set_turn(int64_t batch) {
  next_batch_ = batch;
  first_item_ = workers_->end() - static_cast<uint64_t>(batch * chunks_per_batch_);
}

void ThreadVecEnv::rethrow(int64_t first_chunk, int64_t n_chunks) {
  for (int64_t c = first_chunk; c < first_chunk + n_chunks; ++c) {
    std::exception_ptr& error = chunks_[static_cast<size_t>(c)].error;
    if (error == nullptr) continue;
    ready_ = false;
    std::rethrow_exception(std::exchange(error, nullptr));
  }
}

std::span<const float> ThreadVecEnv::reset(std::optional<uint64_t> seed) {
  new_seed_ = seed;
  if (seed) seed_ = *seed;
  work_all(Task::reset);
  return rows_.observations;
}

std::span<const float> ThreadVecEnv::reset_where(std::span<const uint8_t> mask) {
  require_ready("reset_where");
  require_none_under_way("reset_where");
  require(mask.size() == slots_.size(), "reset_where: the mask has {} entries, but there are {} environments",
          mask.size(), slots_.size());
  mask_ = mask;
  const int64_t turn = next_batch_;
  work_all(Task::reset_where);
  set_turn(turn);
  return rows_.observations;
}

VecStep ThreadVecEnv::step(std::span<const float> actions) {
  require_ready("step");
  require_none_under_way("step");
  require(actions.size() == actions_.size(), "step: there are {} numbers, but {} environments take {} each",
          actions.size(), num_envs(), action_size());
  std::ranges::copy(actions, actions_.begin());
  work_all(Task::step);
  return rows_.view(0, num_envs());
}

void ThreadVecEnv::send(std::span<const float> actions) {
  require_ready("send");
  require(n_under_way_ < num_batches(), "send: all {} batches are under way; receive one first", n_under_way_);
  const int64_t size = batch_size() * action_size();
  require(static_cast<int64_t>(actions.size()) == size, "send: there are {} numbers, but {} environments take {} each",
          actions.size(), batch_size(), action_size());
  std::ranges::copy(actions, actions_.begin() + next_batch_ * size);
  workers_->append(static_cast<uint64_t>(chunks_per_batch_));
  next_batch_ = (next_batch_ + 1) % num_batches();
  ++n_under_way_;
}

VecStep ThreadVecEnv::recv() {
  require_ready("recv");
  require(n_under_way_ > 0, "recv: no batch is under way; send one first");
  const int64_t batch = (next_batch_ - n_under_way_ + num_batches()) % num_batches();
  workers_->finish(workers_->end() - static_cast<uint64_t>((n_under_way_ - 1) * chunks_per_batch_));
  --n_under_way_;
  rethrow(batch * chunks_per_batch_, chunks_per_batch_);
  return rows_.view(batch * batch_size(), batch_size());
}

VecState ThreadVecEnv::state() const {
  require_ready("state");
  require_none_under_way("state");
  require(config_.resumable, "state: these environments keep no actions; make them with resumable = true");
  VecState s;
  s.seed = seed_;
  s.next_batch = next_batch_;
  s.observations = rows_.observations;
  for (const EnvSlot& slot : slots_) {
    s.episodes.push_back(slot.episode());
    s.lengths.push_back(slot.length());
    s.actions.insert(s.actions.end(), slot.actions().begin(), slot.actions().end());
  }
  return s;
}

void ThreadVecEnv::restore(const VecState& s) {
  size_t n_actions = 0;
  for (size_t i = 0; i < s.lengths.size() && i < slots_.size(); ++i) {
    require(s.lengths[i] >= 0, "restore: environment {} has made {} steps", i, s.lengths[i]);
    first_action_[i] = n_actions;
    n_actions += static_cast<size_t>(s.lengths[i] * action_size());
  }
  require(s.episodes.size() == slots_.size() && s.lengths.size() == slots_.size() &&
              s.observations.size() == rows_.observations.size() && s.actions.size() == n_actions,
          "restore: the state is of {} environments and {} numbers of actions, but it must be of {} and {}",
          s.episodes.size(), s.actions.size(), slots_.size(), n_actions);
  require(s.next_batch >= 0 && s.next_batch < num_batches(), "restore: batch {} of {}", s.next_batch, num_batches());
  seed_ = s.seed;
  state_ = &s;
  work_all(Task::replay);
  set_turn(s.next_batch);
  const auto size = static_cast<size_t>(observation_size());
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (same_bits(std::span(rows_.observations).subspan(i * size, size),
                  std::span(s.observations).subspan(i * size, size))) {
      continue;
    }
    ready_ = false;
    fail(ErrorCode::corrupt,
         "restore: environment {} did not come to where it was in episode {} after {} steps; it is another "
         "environment, or does not keep to its seed: `gradus check-env` tells",
         config_.first_env + static_cast<int64_t>(i), s.episodes[i], s.lengths[i]);
  }
}

std::unique_ptr<VecEnv> make_vec_env(const EnvFactory& make, const VecConfig& config) {
  return std::make_unique<ThreadVecEnv>(make, config);
}

}  // namespace gradus::env
