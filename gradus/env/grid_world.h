// The grid world of Zhao, Mathematical Foundations of Reinforcement Learning (2025), sections 1.1 to 1.7. Five actions:
// up, right, down, left, stay. Leaving the grid bounces. Forbidden cells can be entered, for a price.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "gradus/env/finite_mdp.h"

namespace gradus::env {

struct GridWorldConfig {
  std::string map = ".....\n.##..\n..#..\n.#T#.\n.#...\n";  // Fig. 3.4
  std::string map_file{};
  double reward_boundary = -1;   // for an attempt to leave the grid
  double reward_forbidden = -1;  // for entering a forbidden cell, or staying in it
  double reward_target = 1;
  double reward_other = 0;
  bool bounce_pays_cell = false;
  bool forbidden_is_wall = false;
  bool target_is_terminal = false;
  int64_t start_row = 0, start_column = 0;

  template <class F>
  void fields(F& f) {
    f("map", map, "rows of . free, # forbidden, T target, S free and a start");
    f("map_file", map_file, "a text file with the map; \"\" = map");
    f("reward_boundary", reward_boundary, "for an attempt to leave the grid");
    f("reward_forbidden", reward_forbidden, "for entering a forbidden cell or staying in it");
    f("reward_target", reward_target, "for entering the target or staying in it");
    f("reward_other", reward_other, "for any other move");
    f("bounce_pays_cell", bounce_pays_cell,
      "bouncing from a forbidden cell pays reward_forbidden, too (Figs. 5.6, 5.7)");
    f("forbidden_is_wall", forbidden_is_wall, "forbidden cells cannot be entered: the move bounces for its price");
    f("target_is_terminal", target_is_terminal, "an episode ends at the target; else one may stay there for ever");
    f("start_row", start_row, "row of the first cell, from 1; 0 = the S cells, or any");
    f("start_column", start_column, "its column, from 1");
  }
};

enum class GridAction : int { up, right, down, left, stay };

// State = row * columns + column, both from 0. Throws invalid_argument on a bad map (grid_map.h), one without a target
// or with a target that no start can reach, or a start outside or in a wall; not_found or io when map_file cannot be
// read.
std::shared_ptr<const FiniteMdp> grid_world(const GridWorldConfig& config);

}  // namespace gradus::env
