// Along a cliff: the short way is dangerous for who explores. Sutton & Barto, 2nd ed., example 6.6; Gymnasium's
// CliffWalking-v1.
#pragma once

#include <memory>

#include "gradus/env/finite_mdp.h"

namespace gradus::env {

struct CliffWalkingConfig {
  bool is_slippery = false;

  template <class F>
  void fields(F& f) {
    f("is_slippery", is_slippery, "a move goes to either side of its direction with probability 1/3 each");
  }
};

// 4 rows x 12 columns, actions up, right, down, left. Each move pays -1; the cliff -100, and leads back to the start.
std::shared_ptr<const FiniteMdp> cliff_walking(const CliffWalkingConfig& config);

}  // namespace gradus::env
