// Experience that is learned from more than once. Lin 1992, "Self-improving reactive agents based on reinforcement
// learning, planning and teaching"; Mnih et al. 2015, "Human-level control through deep reinforcement learning".
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "gradus/core/memory.h"
#include "gradus/core/rng.h"
#include "gradus/core/safetensors.h"
#include "gradus/rl/deep/network_inputs.h"

namespace gradus::rl {

// Of a step: s, a, r, s2 = S_t, A_t, R_{t+1}, S_{t+1}, and whether the task has ended there. A time limit has no place
// here: after it s2 is worth what it would have been worth without. Of several steps r is their discounted sum.
struct Transition {
  std::span<const float> s, a;
  float r = 0;
  std::span<const float> s2;
  bool terminated = false;
  int64_t steps = 1;  // from s to s2, up to 255
};

// The last `capacity` transitions, in memory or in a file.
class ReplayBuffer {
 public:
  struct Config {
    int64_t capacity = 1, observation_size = 1, action_size = 1;  // numbers of an element of the spaces
    int64_t side_by_side = 1;    // buffers like this one, itself among them, for which there has to be memory
    std::string directory = {};  // of the file (FileMemory); empty = in memory
  };
  // Throws exhausted when it and those beside it are larger than the memory that is left, and what FileMemory throws.
  explicit ReplayBuffer(const Config& config);

  // Replaces the oldest when it is full.
  void add(const Transition& t);
  int64_t size() const { return added_ < capacity() ? added_ : capacity(); }
  int64_t added() const { return added_; }  // since the beginning
  int64_t capacity() const { return r_.dim(0); }
  Transition operator[](int64_t i) const;  // in no order that means something;  0 <= i < size()

  // For checkpoints: shared with the buffer, valid until the next `add`.
  NamedTensors state() const;
  void restore(const NamedTensors& state);  // throws corrupt

 private:
  FileMemory file_;
  Tensor s_, a_, r_, s2_;  // [capacity, ...] f32
  Tensor terminated_;      // [capacity] u8
  Tensor steps_;           // [capacity] u8
  int64_t added_ = 0;
};

// Transitions drawn from a buffer, all equally likely, with replacement, as a network reads them.
class Minibatch {
 public:
  Minibatch(int64_t size, int64_t n_inputs);
  void draw(const ReplayBuffer& buffer, const NetworkInputs& inputs, Rng& rng);

  int64_t size() const { return static_cast<int64_t>(r.size()); }

  Tensor s, s2;                     // [size, n_inputs] f32
  std::vector<int32_t> a;           // [size], numbers of Discrete actions
  std::vector<double> r;            // [size]
  std::vector<uint8_t> terminated;  // [size]
};

}  // namespace gradus::rl
