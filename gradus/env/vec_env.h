// Many copies of one environment, stepped in batches: what learners read and write. Threads step them
// (thread_vec_env.h). Processes would be another class behind this interface, whose children run EnvSlot (env_slot.h)
// over rows in shared memory.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "gradus/env/env.h"

namespace gradus::env {

// What follows an episode's end; Gymnasium's names. Whatever the mode, the transition that ends an episode is a row
// like any other, with `terminated` and `truncated` apart.
//   same_step   the call that ends an episode begins the next one: `observations` is the first of the next episode,
//               `final_observations` the last of the ended one
//   next_step   the next call ignores this environment's action, begins the next episode and pays 0; that row has
//               `is_reset` and is no transition: it must not reach a buffer
//   disabled    the environment waits for reset_where; stepping it before is an error
enum class Autoreset { same_step, next_step, disabled };

struct VecConfig {
  int64_t num_envs = 1;
  int64_t batch_size = 0;  // environments of one send and of one recv; divides num_envs; 0 = all
  int num_threads = 1;     // that step, the caller among them
  Autoreset autoreset = Autoreset::same_step;
  bool resumable = true;  // keep the actions of running episodes, which state() needs
  int64_t first_env = 0;  // the number of the first, of which seeds depend: others may step those before it
};

// What a step of some environments gave: row i is of environment first + i. A Discrete observation is its number
// counted from 0. Valid until these environments are stepped again.
struct VecStep {
  int64_t first = 0;
  std::span<const float> observations;             // [n, observation_size], to act on next
  std::span<const double> rewards;                 // [n]
  std::span<const uint8_t> terminated, truncated;  // [n]
  std::span<const uint8_t> is_reset;               // [n], see next_step; else 0
  std::span<const float> final_observations;       // [n, observation_size], where an episode ended
  std::span<const double> episode_returns;         // [n], where an episode ended: its sum of rewards
  std::span<const int64_t> episode_lengths;        // [n], and its steps (Gymnasium's r and l)

  int64_t size() const { return static_cast<int64_t>(rewards.size()); }
  bool ended(int64_t row) const {
    const auto i = static_cast<size_t>(row);
    return (terminated[i] | truncated[i]) != 0;
  }
  // The observation that a row's action led to, whatever the mode.
  std::span<const float> next_observation(int64_t row) const {
    const size_t size = observations.size() / rewards.size();
    return (ended(row) ? final_observations : observations).subspan(static_cast<size_t>(row) * size, size);
  }
};

// Where all environments stand: which episode, and what was done in it. As small as the running episodes are short.
struct VecState {
  uint64_t seed = 0;
  int64_t next_batch = 0;           // whose turn it is to be sent
  std::vector<uint64_t> episodes;   // [num_envs], counted from 0
  std::vector<int64_t> lengths;     // [num_envs], steps of the running episode
  std::vector<float> actions;       // [sum of lengths, action_size], one environment after the other
  std::vector<float> observations;  // [num_envs, observation_size], to see that replaying led here
  bool operator==(const VecState&) const = default;
};

// Results depend on the seed and the actions alone, never on threads or time: episode k of environment i begins with
// reset(episode_seed(seed, first_env + i, k)), and batches come back in the order in which they were sent.
//
// Everything below throws what environments throw, with the environment, its episode and step in front (of several the
// one with the lowest number in its batch); diverged for an observation or a reward that is not finite as float32;
// invalid_argument for an observation that is not of the declared size. Nothing but reset and restore works afterwards.
// In the steady state nothing is allocated: what grows is the memory of the longest episode.
class VecEnv {
 public:
  virtual ~VecEnv() = default;
  virtual const EnvSpec& spec() const = 0;  // of one environment
  virtual const VecConfig& config() const = 0;

  int64_t num_envs() const { return config().num_envs; }
  int64_t num_batches() const { return num_envs() / batch_size(); }
  int64_t batch_size() const { return config().batch_size == 0 ? num_envs() : config().batch_size; }
  int64_t observation_size() const { return size_of(spec().observation_space); }
  int64_t action_size() const { return size_of(spec().action_space); }

  // Begins an episode everywhere. With a seed, episodes are counted from 0 again; without one each environment goes on
  // to its next. The seed is 0 until one is given. What is under way is waited for and dropped.
  //   result  [num_envs, observation_size]
  virtual std::span<const float> reset(std::optional<uint64_t> seed = {}) = 0;

  // Begins an episode where mask is not 0, and nothing elsewhere. No batch may be under way.
  //   mask    [num_envs]
  //   result  [num_envs, observation_size]
  virtual std::span<const float> reset_where(std::span<const uint8_t> mask) = 0;

  // Steps all environments. No batch may be under way.
  //   actions  [num_envs, action_size]; a Discrete action is its number counted from 0; a Box bound rounded to float32
  //            is the bound
  virtual VecStep step(std::span<const float> actions) = 0;

  // Steps the batch whose turn it is, round and round, and returns at once: batch b is environments b * batch_size and
  // on. recv returns the oldest batch under way. Throws invalid_argument when this batch is under way already, or none
  // is. With one thread the stepping happens in recv.
  //   actions  [batch_size, action_size], copied
  virtual void send(std::span<const float> actions) = 0;
  virtual VecStep recv() = 0;

  // Exact resume. An environment's state is the seed of its episode and the actions since, so that restoring replays
  // them: it takes the time of these steps, and works for whatever environment keeps to its seed. No batch may be under
  // way. state throws invalid_argument unless `resumable`; restore on a state of other sizes, and corrupt when an
  // environment does not come to the observation that it had.
  virtual VecState state() const = 0;
  virtual void restore(const VecState& state) = 0;
};

uint64_t episode_seed(uint64_t seed, int64_t env, uint64_t episode);

using EnvFactory = std::function<std::unique_ptr<Env>()>;

// The environments are made here, one after the other. Throws invalid_argument on a bad config, or when the factory
// makes environments of different spaces; and what the factory throws.
std::unique_ptr<VecEnv> make_vec_env(const EnvFactory& make, const VecConfig& config);

}  // namespace gradus::env
