// Moves on a plane, which several environments share: their names, how they look, and where they lead.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "gradus/env/finite_mdp.h"

namespace gradus::env {

struct GridMove {
  const char *name, *arrow;  // the arrow in UTF-8
  int64_t down, right;
};

inline constexpr GridMove kUp{"up", "\u2191", -1, 0}, kRight{"right", "\u2192", 0, 1}, kDown{"down", "\u2193", 1, 0},
    kLeft{"left", "\u2190", 0, -1}, kStay{"stay", "\u25cb", 0, 0}, kUpRight{"up-right", "\u2197", -1, 1},
    kDownRight{"down-right", "\u2198", 1, 1}, kDownLeft{"down-left", "\u2199", 1, -1},
    kUpLeft{"up-left", "\u2196", -1, -1};

// A picture of rows x columns, all cells plain, state = row * columns + column; and the names of its states and
// actions.
inline GridPicture plain_picture(int64_t rows, int64_t columns, std::span<const GridMove> moves) {
  GridPicture p{.rows = rows, .columns = columns};
  p.cells.assign(static_cast<size_t>(rows * columns), GridPicture::Cell::plain);
  for (int64_t s = 0; s < rows * columns; ++s) p.state_of.push_back(static_cast<int32_t>(s));
  for (const GridMove& m : moves) {
    p.arrows.emplace_back(m.arrow);
    p.directions.emplace_back(static_cast<double>(m.right), static_cast<double>(m.down));
  }
  return p;
}

std::string cell_name(int64_t row, int64_t column);  // "(1, 3)", counted from 1

}  // namespace gradus::env
