// A picture of an environment as simple shapes in a fixed view: what `Env::frame` gives, frame_svg.h writes and
// raster.h paints. Lengths are in the environment's own units, y points up, angles turn counterclockwise.
#pragma once

#include <string_view>
#include <vector>

namespace gradus::env {

struct Point {
  double x = 0, y = 0;
  bool operator==(const Point&) const = default;
};

// Where a shape's own origin lies, how it is turned and how large it is; scale 0 hides it.
struct Pose {
  double x = 0, y = 0, angle_rad = 0, scale = 1;
  bool operator==(const Pose&) const = default;
};

// Colours are "#rrggbb" in static storage, or empty for none.
struct Look {
  enum class Kind { polygon, line, circle } kind = Kind::polygon;
  std::vector<Point> points{};  // corners; of a circle the centre
  double radius = 0;            // of a circle
  std::string_view fill{}, stroke{};
  double stroke_width = 0;
  bool operator==(const Look&) const = default;
};

struct Shape {
  Look look;
  Pose pose{};
};

// Later shapes lie over earlier ones. From frame to frame a shape keeps its place in the list: that is how it is known
// again, and its motion seen.
struct Frame {
  double left = 0, bottom = 0, width = 1, height = 1;  // the view
  double seconds = 0.02;                               // until the next frame
  std::string_view background = "#ffffff";
  std::vector<Shape> shapes{};
};

// Whether every number in it is.
bool is_finite(const Frame& frame);

Look polygon(std::vector<Point> corners, std::string_view fill);
Look box(Point lower_left, Point upper_right, std::string_view fill);
Look circle(Point centre, double radius, std::string_view fill);
Look line(std::vector<Point> points, std::string_view stroke, double width);
Look outlined(Look look, std::string_view stroke, double width);

}  // namespace gradus::env
