// Observations as a network sees them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "gradus/env/space.h"
#include "gradus/rl/function_agent.h"

namespace gradus::rl {

// A number of a Discrete space becomes one 1 among 0s; the numbers of a Box stay as they are, or, `unit_scale`, are
// brought to [0, 1] by their bounds, where they have any.
class NetworkInputs {
 public:
  explicit NetworkInputs(const env::Space& space, bool unit_scale = false);
  // Of numbers of states: where they lie on a plane (coordinates.h), in [0, 1], or, if they lie nowhere or are to be
  // so, one-hot.
  NetworkInputs(const env::FiniteMdp& mdp, bool one_hot);

  int64_t n() const { return n_; }
  //   s  an element of the space;  x [n()]
  void fill(std::span<const float> s, std::span<float> x) const;

 private:
  int64_t n_ = 0;
  bool one_hot_ = false;
  std::vector<float> low_, scale_;
  std::vector<float> rows_;  // [n_states, n], of an MDP on a plane
};

// What a network should see of an environment: of a finite one where its states lie (coordinates.h), or, if they lie
// nowhere, which one it is.
//   points  of a finite environment, or null
env::Space network_space(const env::EnvSpec& spec, const CoordinateEnv* points);

}  // namespace gradus::rl
