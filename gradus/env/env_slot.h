// One environment in its place among many: seeds of its episodes, what happens at their ends, checks of what it
// returns. It knows nothing of threads.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "gradus/env/vec_env.h"

namespace gradus::env {

// Where slots write: VecStep's rows, of all environments.
struct VecRows {
  std::vector<float> observations, final_observations;
  std::vector<double> rewards, episode_returns;
  std::vector<uint8_t> terminated, truncated, is_reset;
  std::vector<int64_t> episode_lengths;

  VecRows(int64_t n, int64_t observation_size);
  VecStep view(int64_t first, int64_t n) const;
};

// Every function writes row `index` of `rows`, and throws what vec_env.h says. One thread at a time.
class EnvSlot {
 public:
  EnvSlot(std::unique_ptr<Env> env, int64_t index, const VecConfig& config);

  const EnvSpec& spec() const { return env_->spec(); }

  // Begins an episode: the first of `seed`, or the next.
  void reset(std::optional<uint64_t> seed, VecRows& rows);

  // action  [action_size]
  void step(const float* action, VecRows& rows);

  // Begins episode `episode` of `seed` and takes `actions` again, [n, action_size].
  void replay(uint64_t seed, uint64_t episode, std::span<const float> actions, VecRows& rows);

  uint64_t episode() const { return episode_; }
  int64_t length() const { return length_; }
  std::span<const float> actions() const { return actions_; }

 private:
  void begin(VecRows& rows);
  StepResult move(const float* action);
  void write(Observation from, float* to) const;
  [[noreturn]] void fail_not_finite(std::string_view what, double value) const;
  template <class F>
  void with_place(F&& f) const;

  std::unique_ptr<Env> env_;
  int64_t index_, number_;  // its row, and which it is of all
  Autoreset autoreset_;
  bool resumable_;
  const Box* box_;  // of actions; null: Discrete
  double first_action_ = 0, first_observation_ = 0;
  size_t observation_size_;
  std::vector<double> action_;  // as the environment takes it

  uint64_t seed_ = 0, episode_ = 0;
  bool begun_ = false, over_ = true;
  double return_ = 0;
  int64_t length_ = 0;
  std::vector<float> actions_;  // since the episode began
};

}  // namespace gradus::env
