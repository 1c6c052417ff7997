#include "gradus/env/frame_svg.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string_view>
#include <vector>

#include "gradus/core/error.h"

namespace gradus::env {

namespace {

constexpr double kPixelsWide = 600;
constexpr double kHoldSeconds = 1;

// At most two decimals, without what says nothing: "1.5", "-0.25", "3".
std::string number(double x) {
  std::string text = fmt::format("{:.2f}", x);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text == "-0" ? "0" : text;
}

bool finite(const Frame& f) {
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

void check(std::span<const Frame> frames) {
  require(!frames.empty(), "animated_svg: there is no frame");
  const Frame& a = frames[0];
  require(a.width > 0 && a.height > 0 && a.seconds > 0,
          "animated_svg: the view is {} x {} for {} s, but each must be positive", a.width, a.height, a.seconds);
  for (size_t t = 0; t < frames.size(); ++t) {
    const Frame& f = frames[t];
    require(finite(f), "animated_svg: frame {} has a number that is not finite", t);
    require(f.left == a.left && f.bottom == a.bottom && f.width == a.width && f.height == a.height &&
                f.background == a.background,
            "animated_svg: frame {} has another view than the first", t);
  }
}

// ---- what one place in the list of shapes shows over time

constexpr size_t kMissing = static_cast<size_t>(-1);

struct Track {
  std::vector<Look> looks;      // all that are seen
  std::vector<size_t> look_at;  // [n_frames] into looks, or kMissing
  std::vector<Pose> poses;      // [n_frames]
};

Track track_of(std::span<const Frame> frames, size_t place) {
  Track track;
  Pose pose;
  for (const Frame& f : frames) {
    if (place >= f.shapes.size()) {
      track.look_at.push_back(kMissing);
      track.poses.push_back(pose);
      continue;
    }
    const Shape& shape = f.shapes[place];
    const auto known = std::find(track.looks.begin(), track.looks.end(), shape.look);
    track.look_at.push_back(static_cast<size_t>(known - track.looks.begin()));
    if (known == track.looks.end()) track.looks.push_back(shape.look);
    const double before = pose.angle_rad;
    pose = shape.pose;
    if (!track.poses.empty()) pose.angle_rad = before + std::remainder(pose.angle_rad - before, 2 * std::numbers::pi);
    track.poses.push_back(pose);
  }
  return track;
}

// ---- the document

// Everything is drawn around the environment's origin in pixels, with y down.
class Writer {
 public:
  explicit Writer(std::span<const Frame> frames)
      : frames_(frames),
        scale_(kPixelsWide / frames[0].width),
        n_shown_(frames.size() + static_cast<size_t>(std::lround(kHoldSeconds / frames[0].seconds))),
        seconds_(number(static_cast<double>(n_shown_ - 1) * frames[0].seconds)) {}

  std::string write() {
    const Frame& first = frames_[0];
    text_ = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\">\n"
        "<rect width=\"{0}\" height=\"{1}\" fill=\"{2}\"/>\n"
        "<g transform=\"translate({3} {4})\" stroke-linecap=\"round\" stroke-linejoin=\"round\">\n",
        number(kPixelsWide), pixels(first.height), first.background, pixels(-first.left),
        pixels(first.bottom + first.height));
    size_t n_places = 0;
    for (const Frame& f : frames_) n_places = std::max(n_places, f.shapes.size());
    std::vector<Pose> poses;  // of the open group: neighbours that move together share one
    for (size_t place = 0; place < n_places; ++place) {
      const Track track = track_of(frames_, place);
      if (place == 0 || track.poses != poses) {
        close_group();
        open_group(track.poses);
        poses = track.poses;
      }
      for (size_t look = 0; look < track.looks.size(); ++look) draw(track, look);
    }
    close_group();
    return text_ + "</g>\n</svg>\n";
  }

 private:
  std::string pixels(double length) const { return number(length * scale_); }

  // A <g> for each kind of motion that is there: place, turn, size, from the outside in.
  void open_group(const std::vector<Pose>& poses) {
    open("translate", "0 0", poses, [&](const Pose& p) { return pixels(p.x) + " " + pixels(-p.y); });
    open("rotate", "0", poses, [](const Pose& p) { return number(-p.angle_rad * 180 / std::numbers::pi); });
    open("scale", "1", poses, [](const Pose& p) { return number(p.scale); });
  }

  template <class F>
  void open(std::string_view motion, std::string_view none, const std::vector<Pose>& poses, F value_of) {
    std::vector<std::string> values;
    for (const Pose& p : poses) values.push_back(value_of(p));
    const bool moves = std::any_of(values.begin(), values.end(), [&](const auto& v) { return v != values[0]; });
    if (!moves && values[0] == none) return;
    ++n_open_;
    text_ += fmt::format("<g transform=\"{}({})\">", motion, values[0]);
    if (!moves) return;
    values.resize(n_shown_, values.back());
    text_ += fmt::format(
        "<animateTransform attributeName=\"transform\" type=\"{}\" dur=\"{}s\" repeatCount=\"indefinite\" "
        "values=\"{}\"/>",
        motion, seconds_, fmt::join(values, ";"));
  }

  void close_group() {
    for (; n_open_ > 0; --n_open_) text_ += "</g>";
    if (text_.back() != '\n') text_ += '\n';
  }

  void draw(const Track& track, size_t i) {
    const Look& look = track.looks[i];
    const std::string_view element = look.kind == Look::Kind::polygon ? "polygon"
                                     : look.kind == Look::Kind::line  ? "polyline"
                                                                      : "circle";
    text_ += fmt::format("<{} {} fill=\"{}\"", element, outline(look), look.fill.empty() ? "none" : look.fill);
    if (!look.stroke.empty()) {
      text_ += fmt::format(" stroke=\"{}\" stroke-width=\"{}\"", look.stroke, pixels(look.stroke_width));
    }
    if (track.look_at[0] != i) text_ += " visibility=\"hidden\"";
    const std::string changes = visibility(track, i);
    text_ += changes.empty() ? "/>" : fmt::format(">{}</{}>", changes, element);
  }

  std::string outline(const Look& look) const {
    if (look.kind == Look::Kind::circle) {
      const Point c = look.points.empty() ? Point{} : look.points[0];
      return fmt::format("cx=\"{}\" cy=\"{}\" r=\"{}\"", pixels(c.x), pixels(-c.y), pixels(look.radius));
    }
    std::vector<std::string> corners;
    for (const Point& p : look.points) corners.push_back(pixels(p.x) + "," + pixels(-p.y));
    return fmt::format("points=\"{}\"", fmt::join(corners, " "));
  }

  // When look i is there to be seen; empty if always.
  std::string visibility(const Track& track, size_t i) const {
    std::vector<std::string> values, times;
    for (size_t t = 0; t < track.look_at.size(); ++t) {
      const std::string_view value = track.look_at[t] == i ? "visible" : "hidden";
      if (!values.empty() && values.back() == value) continue;
      values.emplace_back(value);
      times.push_back(fmt::format("{:.6g}", static_cast<double>(t) / static_cast<double>(n_shown_ - 1)));
    }
    if (values.size() == 1) return {};
    return fmt::format(
        "<animate attributeName=\"visibility\" calcMode=\"discrete\" dur=\"{}s\" repeatCount=\"indefinite\" "
        "values=\"{}\" keyTimes=\"{}\"/>",
        seconds_, fmt::join(values, ";"), fmt::join(times, ";"));
  }

  std::span<const Frame> frames_;
  double scale_;         // pixels to a unit
  size_t n_shown_;       // frames, the held ones too
  std::string seconds_;  // of one round
  int n_open_ = 0;
  std::string text_;
};

}  // namespace

std::string animated_svg(std::span<const Frame> frames) {
  check(frames);
  return Writer(frames).write();
}

}  // namespace gradus::env
