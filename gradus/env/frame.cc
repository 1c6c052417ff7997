#include "gradus/env/frame.h"

#include <utility>

namespace gradus::env {

Look polygon(std::vector<Point> corners, std::string_view fill) {
  return {.kind = Look::Kind::polygon, .points = std::move(corners), .fill = fill};
}

Look box(Point a, Point b, std::string_view fill) {
  return polygon({a, {b.x, a.y}, b, {a.x, b.y}}, fill);
}

Look circle(Point centre, double radius, std::string_view fill) {
  return {.kind = Look::Kind::circle, .points = {centre}, .radius = radius, .fill = fill};
}

Look line(std::vector<Point> points, std::string_view stroke, double width) {
  return {.kind = Look::Kind::line, .points = std::move(points), .stroke = stroke, .stroke_width = width};
}

Look outlined(Look look, std::string_view stroke, double width) {
  look.stroke = stroke;
  look.stroke_width = width;
  return look;
}

}  // namespace gradus::env
