#include "gradus/env/grid_world.h"

#include <algorithm>

#include "gradus/core/error.h"
#include "gradus/core/file.h"
#include "gradus/env/grid_map.h"
#include "gradus/env/grid_moves.h"

namespace gradus::env {

namespace {

using Cell = GridPicture::Cell;

constexpr GridMove kMoves[] = {kUp, kRight, kDown, kLeft, kStay};

// What follows an action in a cell; Zhao, section 1.3 and 1.5 (rewards on arrival).
Outcome outcome_of(const GridMap& map, const GridWorldConfig& c, int64_t row, int64_t column, const GridMove& d) {
  const int64_t row2 = row + d.down, column2 = column + d.right;
  const bool leaves = row2 < 0 || row2 >= map.rows || column2 < 0 || column2 >= map.columns;
  const auto state = static_cast<int32_t>(row * map.columns + column);
  if (leaves) {
    const bool pays_cell = c.bounce_pays_cell && map.at(row, column) == '#';
    return {.next = state, .reward = c.reward_boundary + (pays_cell ? c.reward_forbidden : 0)};
  }
  const char to = map.at(row2, column2);
  const auto next = static_cast<int32_t>(row2 * map.columns + column2);
  if (to == '#') return {.next = c.forbidden_is_wall ? state : next, .reward = c.reward_forbidden};
  if (to == 'T') return {.next = next, .terminated = c.target_is_terminal, .reward = c.reward_target};
  return {.next = next, .reward = c.reward_other};
}

std::vector<double> start_of(const GridMap& map, const GridWorldConfig& c) {
  std::vector<double> start(map.cells.size(), 0.0);
  if (c.start_row != 0 || c.start_column != 0) {
    require(c.start_row >= 1 && c.start_row <= map.rows && c.start_column >= 1 && c.start_column <= map.columns,
            "grid world: the start ({}, {}) is outside of {} rows x {} columns", c.start_row, c.start_column, map.rows,
            map.columns);
    require(!c.forbidden_is_wall || map.at(c.start_row - 1, c.start_column - 1) != '#',
            "grid world: the start ({}, {}) is in a wall", c.start_row, c.start_column);
    start[static_cast<size_t>((c.start_row - 1) * map.columns + c.start_column - 1)] = 1;
  } else {
    const bool marked = map.cells.find('S') != std::string::npos;
    const auto begins = [&](char cell) {
      if (marked) return cell == 'S';
      return !(cell == 'T' && c.target_is_terminal) && !(cell == '#' && c.forbidden_is_wall);
    };
    const auto n = std::ranges::count_if(map.cells, begins);
    for (size_t s = 0; s < start.size(); ++s) start[s] = begins(map.cells[s]) ? 1.0 / static_cast<double>(n) : 0;
  }
  return start;
}

// Whether some start leads to some target.
bool reachable(const FiniteMdp& mdp, const GridMap& map) {
  std::vector<int32_t> open;
  std::vector<bool> seen(map.cells.size());
  for (size_t s = 0; s < seen.size(); ++s) {
    if (mdp.start()[s] > 0) open.push_back(static_cast<int32_t>(s));
  }
  while (!open.empty()) {
    const int32_t s = open.back();
    open.pop_back();
    if (seen[static_cast<size_t>(s)]) continue;
    seen[static_cast<size_t>(s)] = true;
    if (map.cells[static_cast<size_t>(s)] == 'T') return true;
    for (int64_t a = 0; a < mdp.n_actions(); ++a) {
      for (const Outcome& o : mdp.outcomes(s, a)) open.push_back(o.next);
    }
  }
  return false;
}

Cell cell_of(char c, bool forbidden_is_wall) {
  if (c == '#') return forbidden_is_wall ? Cell::wall : Cell::forbidden;
  return c == 'T' ? Cell::target : c == 'S' ? Cell::start : Cell::plain;
}

}  // namespace

std::shared_ptr<const FiniteMdp> grid_world(const GridWorldConfig& c) {
  const bool from_file = !c.map_file.empty();
  const std::string origin = from_file ? c.map_file : "map";
  const GridMap map = parse_grid_map(origin, from_file ? read_file(c.map_file) : c.map, ".#TS");
  require(map.cells.find('T') != std::string::npos, "{}: there is no target (T)", origin);

  FiniteMdp::Definition d{.n_states = map.rows * map.columns, .n_actions = std::ssize(kMoves)};
  d.picture = plain_picture(map.rows, map.columns, kMoves);
  for (const GridMove& a : kMoves) d.action_names.emplace_back(a.name);
  for (int64_t row = 0; row < map.rows; ++row) {
    for (int64_t column = 0; column < map.columns; ++column) {
      const char cell = map.at(row, column);
      d.state_names.push_back(cell_name(row, column));
      d.picture->cells[static_cast<size_t>(row * map.columns + column)] = cell_of(cell, c.forbidden_is_wall);
      const bool ends = cell == 'T' && c.target_is_terminal;
      for (const GridMove& a : kMoves) {
        d.outcomes.emplace_back();
        if (!ends) d.outcomes.back().push_back(outcome_of(map, c, row, column, a));
      }
    }
  }
  d.start = start_of(map, c);
  auto mdp = std::make_shared<const FiniteMdp>(std::move(d));
  require(reachable(*mdp, map), "{}: no start reaches the target", origin);
  return mdp;
}

}  // namespace gradus::env
