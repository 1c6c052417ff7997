// A grid with a wind that blows upwards in its middle columns. Sutton & Barto, 2nd ed., example 6.5, exercises 6.9
// (king's moves, with and without staying) and 6.10 (a wind of changing strength).
#pragma once

#include <memory>

#include "gradus/env/finite_mdp.h"

namespace gradus::env {

struct WindyGridWorldConfig {
  bool kings_moves = false;
  bool stay = false;
  bool stochastic = false;

  template <class F>
  void fields(F& f) {
    f("kings_moves", kings_moves, "eight directions, diagonals too, instead of four");
    f("stay", stay, "and one more action that lets the wind alone move");
    f("stochastic", stochastic, "where there is wind, it is one stronger or one weaker a third of the time each");
  }
};

// 7 rows x 10 columns; each move pays -1; the wind is that of the cell that is left.
std::shared_ptr<const FiniteMdp> windy_grid_world(const WindyGridWorldConfig& config);

}  // namespace gradus::env
