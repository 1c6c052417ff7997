#include "gradus/env/frozen_lake.h"

#include <algorithm>

#include "gradus/core/error.h"
#include "gradus/env/grid_map.h"
#include "gradus/env/grid_moves.h"

namespace gradus::env {

namespace {

constexpr GridMove kMoves[] = {kLeft, kDown, kRight, kUp};

// Gymnasium's two maps.
GridMap map_of(const FrozenLakeConfig& c) {
  constexpr std::string_view k4x4 = "SFFF\nFHFH\nFFFH\nHFFG\n";
  constexpr std::string_view k8x8 = "SFFFFFFF\nFFFFFFFF\nFFFHFFFF\nFFFFFHFF\nFFFHFFFF\nFHHFFFHF\nFHFFHFHF\nFFFHFFFG\n";
  const std::string_view text = c.map == "4x4" ? k4x4 : c.map == "8x8" ? k8x8 : std::string_view(c.map);
  return parse_grid_map("frozen lake", text, "SFHG");
}

Outcome outcome_of(const GridMap& map, int64_t s, const GridMove& move, double probability) {
  const int64_t row = std::clamp<int64_t>(s / map.columns + move.down, 0, map.rows - 1);
  const int64_t column = std::clamp<int64_t>(s % map.columns + move.right, 0, map.columns - 1);
  return {.probability = probability,
          .next = static_cast<int32_t>(row * map.columns + column),
          .reward = map.at(row, column) == 'G' ? 1.0 : 0.0};
}

GridPicture::Cell cell_of(char c) {
  using enum GridPicture::Cell;
  return c == 'H' ? forbidden : c == 'G' ? target : c == 'S' ? start : plain;
}

}  // namespace

std::shared_ptr<const FiniteMdp> frozen_lake(const FrozenLakeConfig& c) {
  const GridMap map = map_of(c);
  const auto n_starts = std::ranges::count(map.cells, 'S');
  require(n_starts > 0 && map.cells.find('G') != std::string::npos,
          "frozen lake: the map needs a start (S) and a goal (G)");
  FiniteMdp::Definition d{.n_states = map.rows * map.columns, .n_actions = 4};
  d.picture = plain_picture(map.rows, map.columns, kMoves);
  for (int64_t s = 0; s < d.n_states; ++s) {
    const char cell = map.cells[static_cast<size_t>(s)];
    d.picture->cells[static_cast<size_t>(s)] = cell_of(cell);
    d.state_names.push_back(cell_name(s / map.columns, s % map.columns));
    d.start.push_back(cell == 'S' ? 1.0 / static_cast<double>(n_starts) : 0);
    for (size_t a = 0; a < 4; ++a) {
      d.outcomes.emplace_back();
      if (cell == 'H' || cell == 'G') continue;
      if (c.is_slippery) {
        for (const size_t turn : {3, 0, 1})
          d.outcomes.back().push_back(outcome_of(map, s, kMoves[(a + turn) % 4], 1.0 / 3));
      } else {
        d.outcomes.back().push_back(outcome_of(map, s, kMoves[a], 1));
      }
    }
  }
  for (const GridMove& m : kMoves) d.action_names.emplace_back(m.name);
  return std::make_shared<const FiniteMdp>(std::move(d));
}

int64_t frozen_lake_steps(const FrozenLakeConfig& config) {
  const GridMap map = map_of(config);
  return map.rows * map.columns <= 16 ? 100 : 200;
}

}  // namespace gradus::env
