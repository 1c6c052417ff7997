// Steps of several environments, each with the rewards of the next n.
#pragma once

#include <cstdint>
#include <span>

#include "gradus/core/safetensors.h"
#include "gradus/rl/deep/replay_buffer.h"

namespace gradus::rl {

// For the target  R_{t+1} + gamma R_{t+2} + ... + gamma^(n-1) R_{t+n} + gamma^n q(S_{t+n}, .).  Watkins 1989; Sutton &
// Barto, 2nd ed., eq. (7.1). Near an episode's end n is as many as are left: no window goes beyond one.
class NStepReturns {
 public:
  NStepReturns(int64_t n, double gamma, int64_t n_envs, int64_t observation_size, int64_t action_size);

  // S_t and A_t of an environment; `reward` follows.
  void act(int64_t env, std::span<const float> s, std::span<const float> a);
  // R_{t+1} and S_{t+1}. What is complete goes to the buffer, `each` is told.
  //   ended  the episode did, by termination or not
  template <class Each>
  void reward(int64_t env, double r, std::span<const float> s2, bool terminated, bool ended, Each&& each) {
    add(env, r);
    const int64_t done = ended ? pending(env) : pending(env) == n_ ? 1 : 0;
    for (int64_t k = 0; k < done; ++k) each(pop(env, s2, terminated));
  }

  // For checkpoints, shared.
  NamedTensors state() const;
  void restore(const NamedTensors& state);  // throws corrupt

 private:
  int64_t pending(int64_t env) const { return pending_.data<int64_t>()[2 * env + 1]; }
  int64_t slot(int64_t env, int64_t age) const {  // age 0 is the oldest
    return env * n_ + (pending_.data<int64_t>()[2 * env] + age) % n_;
  }
  void add(int64_t env, double r);
  Transition pop(int64_t env, std::span<const float> s2, bool terminated);

  int64_t n_;
  double gamma_;
  Tensor s_, a_;    // [n_envs * n, size] f32
  Tensor returns_;  // [n_envs * n] f64, so far
  Tensor pending_;  // [n_envs, 2] i64: the oldest's place, and how many there are
};

}  // namespace gradus::rl
