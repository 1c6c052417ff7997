#include "gradus/rl/coordinates.h"

#include <algorithm>

namespace gradus::rl {

namespace {

// The points by the picture; none where it leaves a state out or shows one twice.
std::vector<std::vector<double>> points_of(const env::GridPicture& picture, int64_t n_states) {
  std::vector<std::vector<double>> points(static_cast<size_t>(n_states));
  for (int64_t cell = 0; cell < picture.rows * picture.columns; ++cell) {
    const int32_t s = picture.state_of[static_cast<size_t>(cell)];
    if (s < 0) continue;
    std::vector<double>& point = points[static_cast<size_t>(s)];
    if (!point.empty()) return {};
    point = {static_cast<double>(cell % picture.columns), static_cast<double>(cell / picture.columns)};
  }
  const bool all = std::ranges::none_of(points, [](const auto& p) { return p.empty(); });
  return all ? points : std::vector<std::vector<double>>();
}

}  // namespace

Coordinates coordinates_of(const env::FiniteMdp& mdp) {
  const auto& picture = mdp.picture();
  if (picture) {
    if (auto points = points_of(*picture, mdp.n_states()); !points.empty()) {
      return {.box = {.low = {0, 0},
                      .high = {static_cast<double>(picture->columns - 1), static_cast<double>(picture->rows - 1)}},
              .points = std::move(points),
              .on_plane = true};
    }
  }
  Coordinates line{.box = {.low = {0}, .high = {static_cast<double>(mdp.n_states() - 1)}}, .points = {}};
  for (int64_t s = 0; s < mdp.n_states(); ++s) line.points.push_back({static_cast<double>(s)});
  return line;
}

CoordinateEnv::CoordinateEnv(env::FiniteEnv& env)
    : env_(env), coordinates_(coordinates_of(env.mdp())), spec_(env.spec()) {
  spec_.observation_space = coordinates_.box;
}

}  // namespace gradus::rl
