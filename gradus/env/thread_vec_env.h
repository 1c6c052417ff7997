// The VecEnv of threads, in this process: for environments that may be stepped side by side, which are all that share
// nothing.
#pragma once

#include <exception>
#include <memory>
#include <vector>

#include "gradus/env/env_slot.h"
#include "gradus/env/vec_env.h"
#include "gradus/runtime/ordered_workers.h"

namespace gradus::env {

// A batch is cut into chunks, several for each thread; a chunk is stepped by whoever comes first, and writes its own
// rows.
class ThreadVecEnv final : public VecEnv {
 public:
  ThreadVecEnv(const EnvFactory& make, const VecConfig& config);

  const EnvSpec& spec() const override { return slots_.front().spec(); }
  const VecConfig& config() const override { return config_; }
  std::span<const float> reset(std::optional<uint64_t> seed) override;
  std::span<const float> reset_where(std::span<const uint8_t> mask) override;
  VecStep step(std::span<const float> actions) override;
  void send(std::span<const float> actions) override;
  VecStep recv() override;
  VecState state() const override;
  void restore(const VecState& state) override;

 private:
  enum class Task { step, reset, reset_where, replay };
  struct Chunk {
    int64_t begin = 0, end = 0;  // environments
    std::exception_ptr error{};  // of the lowest environment that failed
  };

  void require_ready(std::string_view what) const;
  void require_none_under_way(std::string_view what) const;
  void work(Chunk& chunk);
  void work_all(Task task);
  void set_turn(int64_t batch);
  void rethrow(int64_t first_chunk, int64_t n_chunks);

  VecConfig config_;
  std::vector<EnvSlot> slots_;
  VecRows rows_;
  std::vector<float> actions_;  // [num_envs, action_size]
  std::vector<Chunk> chunks_;   // batch by batch
  int64_t chunks_per_batch_ = 1;
  uint64_t first_item_ = 0;  // the item that was chunk 0

  // What the chunks under way are for.
  Task task_ = Task::step;
  uint64_t seed_ = 0;
  std::optional<uint64_t> new_seed_;
  std::span<const uint8_t> mask_;
  const VecState* state_ = nullptr;
  std::vector<size_t> first_action_;  // [num_envs], of a replay

  bool ready_ = false;  // begun, and without an error since
  int64_t next_batch_ = 0, n_under_way_ = 0;
  std::unique_ptr<runtime::OrderedWorkers> workers_;  // last: they end before the rest goes
};

}  // namespace gradus::env
