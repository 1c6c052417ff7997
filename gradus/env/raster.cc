#include "gradus/env/raster.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "gradus/core/error.h"

namespace gradus::env {

namespace {

constexpr int64_t kSamples = 3;  // in a pixel, along each side

Rgb rgb_of(std::string_view colour) {
  uint32_t number = 0;
  const bool ok = colour.size() == 7 && colour[0] == '#' &&
                  std::from_chars(colour.data() + 1, colour.data() + 7, number, 16).ptr == colour.data() + 7;
  require(ok, "rasterise: the colour '{}' is not #rrggbb", colour);
  return {static_cast<uint8_t>(number >> 16), static_cast<uint8_t>(number >> 8), static_cast<uint8_t>(number)};
}

double square(double x) {
  return x * x;
}

double squared_distance(const Point& p, const Point& a, const Point& b) {
  const double dx = b.x - a.x, dy = b.y - a.y, length2 = dx * dx + dy * dy;
  const double along = length2 > 0 ? std::clamp(((p.x - a.x) * dx + (p.y - a.y) * dy) / length2, 0.0, 1.0) : 0;
  return square(p.x - a.x - along * dx) + square(p.y - a.y - along * dy);
}

// A look whose stroke has its least width, in the shape's own coordinates.
class Area {
 public:
  Area(const Look& look, double least_width)
      : look_(look),
        centre_(look.points.empty() ? Point{} : look.points[0]),
        half_(look.stroke.empty() ? 0 : std::max(look.stroke_width, least_width) / 2) {}

  bool fills(const Point& p) const {
    if (look_.fill.empty() || look_.kind == Look::Kind::line) return false;
    if (look_.kind == Look::Kind::circle) return distance_to_centre(p) <= look_.radius;
    bool inside = false;  // crossings of the ray to the right, counted
    each_side([&](const Point& a, const Point& b) {
      if ((a.y > p.y) != (b.y > p.y) && p.x < a.x + (p.y - a.y) / (b.y - a.y) * (b.x - a.x)) inside = !inside;
    });
    return inside;
  }

  bool strokes(const Point& p) const {
    if (half_ == 0) return false;
    if (look_.kind == Look::Kind::circle) return std::abs(distance_to_centre(p) - look_.radius) <= half_;
    bool near = false;
    each_side([&](const Point& a, const Point& b) { near = near || squared_distance(p, a, b) <= half_ * half_; });
    return near;
  }

  // How far beyond its points it goes.
  double margin() const { return half_ + (look_.kind == Look::Kind::circle ? look_.radius : 0); }

 private:
  double distance_to_centre(const Point& p) const { return std::hypot(p.x - centre_.x, p.y - centre_.y); }

  template <class F>
  void each_side(F&& f) const {
    const auto& points = look_.points;
    for (size_t i = 1; i < points.size(); ++i) f(points[i - 1], points[i]);
    if (look_.kind == Look::Kind::polygon && !points.empty()) f(points.back(), points[0]);
  }

  const Look& look_;
  Point centre_;
  double half_;  // of the stroke's width
};

// The samples of all pixels, on which later shapes cover earlier ones.
class Canvas {
 public:
  Canvas(const Frame& frame, int64_t width, int64_t height)
      : frame_(frame),
        width_(width * kSamples),
        height_(height * kSamples),
        samples_(static_cast<size_t>(width_ * height_), rgb_of(frame.background)) {}

  void draw(const Shape& shape) {
    const Pose& pose = shape.pose;
    if (pose.scale == 0) return;
    const double pixel = kSamples * std::max(step_x(), step_y());
    const Area area(shape.look, shape.look.kind == Look::Kind::line ? pixel / std::abs(pose.scale) : 0);
    const Rgb fill = shape.look.fill.empty() ? Rgb{} : rgb_of(shape.look.fill);
    const Rgb stroke = shape.look.stroke.empty() ? Rgb{} : rgb_of(shape.look.stroke);
    const double cos = std::cos(pose.angle_rad) / pose.scale, sin = std::sin(pose.angle_rad) / pose.scale;
    const double top = frame_.bottom + frame_.height;
    const Window window = window_of(shape, area.margin() * std::abs(pose.scale));
    for (int64_t j = window.top; j < window.bottom; ++j) {
      const double dy = top - (static_cast<double>(j) + 0.5) * step_y() - pose.y;
      for (int64_t i = window.left; i < window.right; ++i) {
        const double dx = frame_.left + (static_cast<double>(i) + 0.5) * step_x() - pose.x;
        const Point p{cos * dx + sin * dy, cos * dy - sin * dx};  // as the shape sees it
        Rgb& colour = samples_[static_cast<size_t>(j * width_ + i)];
        if (area.strokes(p)) {
          colour = stroke;
        } else if (area.fills(p)) {
          colour = fill;
        }
      }
    }
  }

  Raster means() const {
    Raster raster{.width = width_ / kSamples, .height = height_ / kSamples};
    for (int64_t row = 0; row < raster.height; ++row) {
      for (int64_t column = 0; column < raster.width; ++column) raster.pixels.push_back(mean(row, column));
    }
    return raster;
  }

 private:
  double step_x() const { return frame_.width / static_cast<double>(width_); }
  double step_y() const { return frame_.height / static_cast<double>(height_); }

  // Samples that a shape may cover, the ends not among them.
  struct Window {
    int64_t left, right, top, bottom;
  };
  Window window_of(const Shape& shape, double margin) const {
    constexpr double kFar = std::numeric_limits<double>::infinity();
    const Pose& pose = shape.pose;
    const double cos = std::cos(pose.angle_rad) * pose.scale, sin = std::sin(pose.angle_rad) * pose.scale;
    double left = kFar, right = -kFar, down = kFar, up = -kFar;
    const auto hold = [&](const Point& p) {
      const double x = pose.x + cos * p.x - sin * p.y - frame_.left, y = pose.y + sin * p.x + cos * p.y - frame_.bottom;
      left = std::min(left, x), right = std::max(right, x), down = std::min(down, y), up = std::max(up, y);
    };
    for (const Point& p : shape.look.points) hold(p);
    if (shape.look.points.empty()) hold({});  // a circle around the origin
    return {.left = sample((left - margin) / step_x(), width_),
            .right = sample((right + margin) / step_x() + 1, width_),
            .top = sample((frame_.height - up - margin) / step_y(), height_),
            .bottom = sample((frame_.height - down + margin) / step_y() + 1, height_)};
  }

  static int64_t sample(double at, int64_t n) {
    return static_cast<int64_t>(std::clamp(at, 0.0, static_cast<double>(n)));
  }

  Rgb mean(int64_t row, int64_t column) const {
    constexpr int kPoints = kSamples * kSamples;
    int red = kPoints / 2, green = kPoints / 2, blue = kPoints / 2;  // to round
    for (int64_t j = row * kSamples; j < (row + 1) * kSamples; ++j) {
      for (int64_t i = column * kSamples; i < (column + 1) * kSamples; ++i) {
        const Rgb& c = samples_[static_cast<size_t>(j * width_ + i)];
        red += c.red, green += c.green, blue += c.blue;
      }
    }
    return {static_cast<uint8_t>(red / kPoints), static_cast<uint8_t>(green / kPoints),
            static_cast<uint8_t>(blue / kPoints)};
  }

  const Frame& frame_;
  int64_t width_, height_;  // in samples
  std::vector<Rgb> samples_;
};

}  // namespace

Raster rasterise(const Frame& frame, int64_t width, int64_t height) {
  require(width >= 1 && height >= 1, "rasterise: {} x {} pixels, but there must be one", width, height);
  require(is_finite(frame), "rasterise: the frame has a number that is not finite");
  require(frame.width > 0 && frame.height > 0, "rasterise: the view is {} x {}, but each must be positive", frame.width,
          frame.height);
  Canvas canvas(frame, width, height);
  for (const Shape& shape : frame.shapes) canvas.draw(shape);
  return canvas.means();
}

}  // namespace gradus::env
