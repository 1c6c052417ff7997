#include "gradus/env/windy_grid_world.h"

#include <algorithm>

#include "gradus/env/grid_moves.h"

namespace gradus::env {

namespace {

constexpr int64_t kRows = 7, kColumns = 10;
constexpr int64_t kWind[kColumns] = {0, 0, 0, 1, 1, 1, 2, 2, 1, 0};
constexpr int64_t kStart = 3 * kColumns, kGoal = 3 * kColumns + 7;

Outcome outcome_of(int64_t s, const GridMove& move, int64_t wind, double probability) {
  const int64_t row = std::clamp<int64_t>(s / kColumns + move.down - wind, 0, kRows - 1);
  const int64_t column = std::clamp<int64_t>(s % kColumns + move.right, 0, kColumns - 1);
  return {.probability = probability, .next = static_cast<int32_t>(row * kColumns + column), .reward = -1};
}

}  // namespace

std::shared_ptr<const FiniteMdp> windy_grid_world(const WindyGridWorldConfig& c) {
  std::vector<GridMove> moves = {kUp, kRight, kDown, kLeft};
  if (c.kings_moves) moves.insert(moves.end(), {kUpRight, kDownRight, kDownLeft, kUpLeft});
  if (c.stay) moves.push_back(kStay);
  FiniteMdp::Definition d{.n_states = kRows * kColumns, .n_actions = static_cast<int64_t>(moves.size())};
  for (int64_t s = 0; s < d.n_states; ++s) {
    const int64_t wind = kWind[s % kColumns];
    d.state_names.push_back(cell_name(s / kColumns, s % kColumns));
    for (const GridMove& move : moves) {
      d.outcomes.emplace_back();
      if (s == kGoal) continue;
      if (c.stochastic && wind > 0) {
        for (const int64_t change : {-1, 0, 1})
          d.outcomes.back().push_back(outcome_of(s, move, wind + change, 1.0 / 3));
      } else {
        d.outcomes.back().push_back(outcome_of(s, move, wind, 1));
      }
    }
  }
  d.picture = plain_picture(kRows, kColumns, moves);
  d.picture->cells[kStart] = GridPicture::Cell::start;
  d.picture->cells[kGoal] = GridPicture::Cell::target;
  for (const GridMove& m : moves) d.action_names.emplace_back(m.name);
  d.start.resize(static_cast<size_t>(d.n_states));
  d.start[kStart] = 1;
  return std::make_shared<const FiniteMdp>(std::move(d));
}

}  // namespace gradus::env
