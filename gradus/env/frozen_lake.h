// Across a frozen lake with holes. Gymnasium's FrozenLake-v1.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "gradus/env/finite_mdp.h"

namespace gradus::env {

struct FrozenLakeConfig {
  std::string map = "4x4";
  bool is_slippery = true;

  template <class F>
  void fields(F& f) {
    f("map", map, "4x4, 8x8, or rows of S start, F frozen, H hole, G goal");
    f("is_slippery", is_slippery, "a move goes to either side of its direction with probability 1/3 each");
  }
};

// Actions left, down, right, up, as Gymnasium numbers them. The goal pays 1; it and holes end an episode. Throws
// invalid_argument on a bad map (grid_map.h), or one without a start or a goal.
std::shared_ptr<const FiniteMdp> frozen_lake(const FrozenLakeConfig& config);

// Gymnasium's time limit: 100 steps on 4x4, 200 on larger ones.
int64_t frozen_lake_steps(const FrozenLakeConfig& config);

}  // namespace gradus::env
