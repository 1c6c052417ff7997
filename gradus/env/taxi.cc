#include "gradus/env/taxi.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace gradus::env {

namespace {

constexpr int64_t kSide = 5, kPlaces = 4, kInTaxi = 4;
struct Place {
  int64_t row, column;
  const char* name;
};
constexpr std::array<Place, kPlaces> kPlace = {{{0, 0, "red"}, {0, 4, "green"}, {4, 0, "yellow"}, {4, 3, "blue"}}};

// Whether a wall stands on the right of a cell.
bool wall_right_of(int64_t row, int64_t column) {
  return (column == 1 && row <= 1) || (column == 0 && row >= 3) || (column == 2 && row >= 3);
}

struct State {
  int64_t row, column, passenger, destination;

  static State of(int64_t s) { return {s / 100, s / 20 % 5, s / 4 % 5, s % 4}; }
  int32_t index() const {
    return static_cast<int32_t>(((row * kSide + column) * 5 + passenger) * kPlaces + destination);
  }
  bool at(int64_t place) const {
    return row == kPlace[static_cast<size_t>(place)].row && column == kPlace[static_cast<size_t>(place)].column;
  }
};

enum Action : int { south, north, east, west, pickup, dropoff, kNActions };

Outcome outcome_of(State s, int action) {
  double reward = -1;
  bool terminated = false;
  switch (action) {
    case south:
      s.row = std::min(s.row + 1, kSide - 1);
      break;
    case north:
      s.row = std::max<int64_t>(s.row - 1, 0);
      break;
    case east:
      if (s.column < kSide - 1 && !wall_right_of(s.row, s.column)) ++s.column;
      break;
    case west:
      if (s.column > 0 && !wall_right_of(s.row, s.column - 1)) --s.column;
      break;
    case pickup:
      if (s.passenger < kInTaxi && s.at(s.passenger)) {
        s.passenger = kInTaxi;
      } else {
        reward = -10;
      }
      break;
    default:
      if (s.passenger == kInTaxi && s.at(s.destination)) {
        s.passenger = s.destination;
        reward = 20;
        terminated = true;
        break;
      }
      reward = -10;
      for (int64_t place = 0; place < kPlaces; ++place) {
        if (s.passenger != kInTaxi || !s.at(place)) continue;
        s.passenger = place;  // at a wrong place, but at one
        reward = -1;
        break;
      }
  }
  return {.next = s.index(), .terminated = terminated, .reward = reward};
}

std::string name_of(const State& s) {
  const char* passenger = s.passenger == kInTaxi ? "aboard" : kPlace[static_cast<size_t>(s.passenger)].name;
  return fmt::format("({}, {}) {} to {}", s.row + 1, s.column + 1, passenger,
                     kPlace[static_cast<size_t>(s.destination)].name);
}

}  // namespace

std::shared_ptr<const FiniteMdp> taxi() {
  FiniteMdp::Definition d{.n_states = kSide * kSide * 5 * kPlaces, .n_actions = kNActions};
  for (int64_t i = 0; i < d.n_states; ++i) {
    const State s = State::of(i);
    for (int a = 0; a < kNActions; ++a) d.outcomes.push_back({outcome_of(s, a)});
    d.start.push_back(s.passenger < kInTaxi && s.passenger != s.destination ? 1.0 / 300 : 0);
    d.state_names.push_back(name_of(s));
  }
  d.action_names = {"south", "north", "east", "west", "pickup", "dropoff"};
  return std::make_shared<const FiniteMdp>(std::move(d));
}

}  // namespace gradus::env
