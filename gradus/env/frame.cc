#include "gradus/env/frame.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <utility>

namespace gradus::env {

bool is_finite(const Frame& f) {
  const auto all = [](std::initializer_list<double> numbers) {
    return std::all_of(numbers.begin(), numbers.end(), [](double x) { return std::isfinite(x); });
  };
  for (const Shape& s : f.shapes) {
    if (!all({s.pose.x, s.pose.y, s.pose.angle_rad, s.pose.scale, s.look.radius, s.look.stroke_width})) return false;
    for (const Point& p : s.look.points) {
      if (!all({p.x, p.y})) return false;
    }
  }
  return all({f.left, f.bottom, f.width, f.height, f.seconds});
}

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
