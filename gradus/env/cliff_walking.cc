#include "gradus/env/cliff_walking.h"

#include <algorithm>

#include "gradus/env/grid_moves.h"

namespace gradus::env {

namespace {

constexpr int64_t kRows = 4, kColumns = 12;
constexpr GridMove kMoves[] = {kUp, kRight, kDown, kLeft};
constexpr int32_t kStart = (kRows - 1) * kColumns, kGoal = kRows * kColumns - 1;

bool is_cliff(int64_t row, int64_t column) {
  return row == kRows - 1 && column > 0 && column < kColumns - 1;
}

Outcome outcome_of(int64_t row, int64_t column, const GridMove& move, double probability) {
  row = std::clamp<int64_t>(row + move.down, 0, kRows - 1);
  column = std::clamp<int64_t>(column + move.right, 0, kColumns - 1);
  if (is_cliff(row, column)) return {.probability = probability, .next = kStart, .reward = -100};
  return {.probability = probability, .next = static_cast<int32_t>(row * kColumns + column), .reward = -1};
}

}  // namespace

std::shared_ptr<const FiniteMdp> cliff_walking(const CliffWalkingConfig& c) {
  FiniteMdp::Definition d{.n_states = kRows * kColumns, .n_actions = 4};
  GridPicture picture = plain_picture(kRows, kColumns, kMoves);
  for (int64_t row = 0; row < kRows; ++row) {
    for (int64_t column = 0; column < kColumns; ++column) {
      const int64_t s = row * kColumns + column;
      if (is_cliff(row, column)) picture.cells[static_cast<size_t>(s)] = GridPicture::Cell::forbidden;
      d.state_names.push_back(cell_name(row, column));
      for (size_t a = 0; a < 4; ++a) {
        d.outcomes.emplace_back();
        if (s == kGoal) continue;
        if (c.is_slippery) {
          for (const size_t turn : {3, 0, 1}) {
            d.outcomes.back().push_back(outcome_of(row, column, kMoves[(a + turn) % 4], 1.0 / 3));
          }
        } else {
          d.outcomes.back().push_back(outcome_of(row, column, kMoves[a], 1));
        }
      }
    }
  }
  picture.cells[kStart] = GridPicture::Cell::start;
  picture.cells[kGoal] = GridPicture::Cell::target;
  for (const GridMove& m : kMoves) d.action_names.emplace_back(m.name);
  d.start.resize(kRows * kColumns);
  d.start[kStart] = 1;
  d.picture = std::move(picture);
  return std::make_shared<const FiniteMdp>(std::move(d));
}

}  // namespace gradus::env
