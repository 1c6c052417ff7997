#include "gradus/env/grid_frame.h"

namespace gradus::env {

namespace {

using Cell = GridPicture::Cell;

std::string_view colour_of(const GridPicture& p, size_t at) {
  if (p.state_of[at] < 0) return "#5a6068";
  switch (p.cells[at]) {
    case Cell::plain:
      return {};
    case Cell::forbidden:
      return "#f0b482";
    case Cell::target:
      return "#56b4e9";
    case Cell::wall:
      return "#5a6068";
    case Cell::start:
      return "#b5e2d3";
  }
  return {};
}

}  // namespace

std::optional<Frame> grid_frame(const GridPicture& p, int32_t state) {
  constexpr size_t kMostCells = 1024;
  constexpr double kSecondsAStep = 0.25, kEdge = 0.04;
  if (p.cells.size() > kMostCells) return {};
  const auto rows = static_cast<double>(p.rows), columns = static_cast<double>(p.columns);
  Frame f{.left = -kEdge,
          .bottom = -kEdge,
          .width = columns + 2 * kEdge,
          .height = rows + 2 * kEdge,
          .seconds = kSecondsAStep};
  Pose agent{.scale = 0};  // hidden where the picture does not show the state
  for (size_t at = 0; at < p.cells.size(); ++at) {
    const Point corner{static_cast<double>(static_cast<int64_t>(at) % p.columns),
                       rows - 1 - static_cast<double>(static_cast<int64_t>(at) / p.columns)};
    if (p.state_of[at] == state) agent = {.x = corner.x + 0.5, .y = corner.y + 0.5};
    const std::string_view colour = colour_of(p, at);
    if (!colour.empty()) f.shapes.push_back({box(corner, {corner.x + 1, corner.y + 1}, colour)});
  }
  for (double y = 0; y <= rows; ++y) f.shapes.push_back({line({{0, y}, {columns, y}}, "#c3ccd6", 0.03)});
  for (double x = 0; x <= columns; ++x) f.shapes.push_back({line({{x, 0}, {x, rows}}, "#c3ccd6", 0.03)});
  f.shapes.push_back({outlined(circle({0, 0}, 0.3, "#d55e00"), "#1f2a3a", 0.05), agent});
  return f;
}

}  // namespace gradus::env
