#include "gradus/env/grid_map.h"

#include <algorithm>

#include "gradus/core/error.h"

namespace gradus::env {

GridMap parse_grid_map(std::string_view origin, std::string_view text, std::string_view allowed) {
  GridMap map;
  int64_t line = 0;
  bool ended = false;
  while (!text.empty()) {
    const size_t end = text.find_first_of("\n/");
    std::string_view row = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (row.ends_with('\r')) row.remove_suffix(1);
    ++line;
    if (row.empty()) {
      ended = map.rows > 0;
      continue;
    }
    require(!ended, "{}:{}: a row after a blank line", origin, line);
    const size_t wrong = row.find_first_not_of(allowed);
    require(wrong == std::string_view::npos, "{}:{}:{}: '{}' is not a cell; known are {}", origin, line, wrong + 1,
            wrong == std::string_view::npos ? ' ' : row[wrong], allowed);
    const auto width = static_cast<int64_t>(row.size());
    if (map.rows == 0) map.columns = width;
    require(width == map.columns, "{}:{}:{}: this row has {} cells, the first has {}", origin, line,
            std::min(width, map.columns) + 1, width, map.columns);
    map.cells += row;
    ++map.rows;
  }
  require(map.rows > 0, "{}: the map is empty", origin);
  return map;
}

}  // namespace gradus::env
