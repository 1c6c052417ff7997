// Maps as text: a line per row, a character per cell. On a command line, where a line break is hard to type, a slash
// ends a row, too.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gradus::env {

struct GridMap {
  int64_t rows = 0, columns = 0;
  std::string cells{};  // [rows * columns]
  char at(int64_t row, int64_t column) const { return cells[static_cast<size_t>(row * columns + column)]; }
};

// Blank lines at either end do not count. Throws invalid_argument, naming origin, line and column (from 1), on a
// character that is not among `allowed`, on lines of different lengths, or an empty map.
//   origin  names the source in errors: "maze.txt"
GridMap parse_grid_map(std::string_view origin, std::string_view text, std::string_view allowed);

}  // namespace gradus::env
