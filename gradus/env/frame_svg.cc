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

void check(std::span<const Frame> frames) {
  require(!frames.empty(), "animated_svg: there is no frame");
  const Frame& a = frames[0];
  require(a.width > 0 && a.height > 0 && a.seconds > 0,
          "animated_svg: the view is {} x {} for {} s, but each must be positive", a.width, a.height, a.seconds);
  for (size_t t = 0; t < frames.size(); ++t) {
    const Frame& f = frames[t];
    require(is_finite(f), "animated_svg: frame {} has a number that is not finite", t);
    require(f.left == a.left && f.bottom == a.bottom && f.width == a.width && f.height == a.height &&
                f.background == a.background,
            "animated_svg: frame {} has another view than the first", t);
  }
}

// For which the last frame of an episode is shown, beyond its own time.
size_t held_frames(double seconds) {
  return static_cast<size_t>(std::lround(kHoldSeconds / seconds));
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
        n_shown_(frames.size() + held_frames(frames[0].seconds)),
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

// ---- several episodes

// Every stride-th frame of each episode and its last, which is held until the next one begins.
std::vector<Frame> joined(std::span<const std::vector<Frame>> episodes, size_t stride) {
  std::vector<Frame> all;
  for (const auto& frames : episodes) {
    if (!all.empty()) all.insert(all.end(), held_frames(all[0].seconds), Frame(all.back()));
    for (size_t t = 0; t < frames.size(); t += stride) {
      all.push_back(frames[t]);
      all.back().seconds *= static_cast<double>(stride);
    }
    if (!frames.empty() && (frames.size() - 1) % stride != 0) all.push_back(frames.back());
  }
  return all;
}

}  // namespace

std::string animated_svg(std::span<const Frame> frames) {
  check(frames);
  return Writer(frames).write();
}

std::string animated_svg(std::span<const std::vector<Frame>> episodes, size_t most_bytes) {
  size_t longest = 0;
  for (const auto& frames : episodes) longest = std::max(longest, frames.size());
  for (size_t stride = 1;; stride *= 2) {
    std::string svg = animated_svg(joined(episodes, stride));
    if (svg.size() <= most_bytes || stride >= longest) return svg;
  }
}

}  // namespace gradus::env
