// A walk along n states that ends at either side; both ways are equally likely, and there is nothing to decide. Sutton
// & Barto, 2nd ed., example 6.2 (5 states) and section 7.1 (19 states).
#pragma once

#include <cstdint>
#include <memory>

#include "gradus/env/finite_mdp.h"

namespace gradus::env {

struct RandomWalkConfig {
  int64_t states = 5;
  double reward_left = 0;
  double reward_right = 1;

  template <class F>
  void fields(F& f) {
    f("states", states, "states between the two ends; a walk starts in the middle");
    f("reward_left", reward_left, "for the end on the left");
    f("reward_right", reward_right, "for the end on the right");
  }
};

// States 0 .. states - 1 from left to right, then the two ends. Throws invalid_argument unless states >= 1.
std::shared_ptr<const FiniteMdp> random_walk(const RandomWalkConfig& config);

}  // namespace gradus::env
