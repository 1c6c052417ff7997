// Observations as a network sees them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "gradus/env/finite_mdp.h"
#include "gradus/env/space.h"

namespace gradus::rl {

class NetworkInputs {
 public:
  // The numbers of a Box stay as they are; one of a Discrete space, counted from 0, becomes one 1 among 0s.
  explicit NetworkInputs(const env::Space& space);
  // Numbers of states: where they lie on a plane (coordinates.h), brought to [0, 1], or, if they lie nowhere or are to
  // be so, one-hot.
  NetworkInputs(const env::FiniteMdp& mdp, bool one_hot);

  int64_t n() const { return n_; }
  //   s  an observation;  x [n()]
  void fill(std::span<const float> s, std::span<float> x) const;

 private:
  int64_t n_;
  bool one_hot_;
  std::vector<float> rows_;  // [n_states, n], of an MDP on a plane
};

}  // namespace gradus::rl
