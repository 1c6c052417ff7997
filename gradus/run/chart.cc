#include "gradus/run/chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string_view>

#include "gradus/core/error.h"

namespace gradus::run {

namespace {

constexpr double kWidth = 800, kHeight = 450;
constexpr double kEdge = 24;       // free space around everything
constexpr double kTickWidth = 40;  // room for the labels of a vertical axis
constexpr double kLegendRow = 22;  // height
constexpr double kSwatch = 26;     // length of a legend's line
constexpr double kTitleSize = 17, kTextSize = 13;
constexpr double kLargest = 1e300;  // beyond it the width of an axis may overflow
constexpr std::array<std::string_view, 7> kColours = {"#0072b2", "#d55e00", "#009e73", "#a8528c",
                                                      "#e69f00", "#56b4e9", "#000000"};
constexpr std::string_view kInk = "#1f2328", kFaintInk = "#59636e", kGrid = "#e4e8ec", kAxis = "#8c959f";

bool can_be_drawn(const std::pair<double, double>& p) {
  return std::abs(p.first) <= kLargest && std::abs(p.second) <= kLargest;  // false for NaN
}

bool begins_code_point(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
}

// Shares of the font's size, a little generous for sans-serif fonts; letters beyond ASCII count as the widest.
double letter_width(char c) {
  if (!begins_code_point(c)) return 0;
  if (std::string_view("fijlrtI.,:;'|!()[] ").find(c) != std::string_view::npos) return 0.38;
  if (std::string_view("mwMW@%").find(c) != std::string_view::npos) return 0.95;
  if (static_cast<unsigned char>(c) >= 0x80) return 1;
  return c >= 'A' && c <= 'Z' ? 0.72 : 0.62;
}

double text_width(std::string_view text, double size) {
  double width = 0;
  for (const char c : text) width += letter_width(c) * size;
  return width;
}

std::string shortened(std::string_view text, double width, double size) {
  if (text_width(text, size) <= width) return std::string(text);
  width -= text_width("...", size);
  size_t end = 0;
  for (; end < text.size(); ++end) {
    width -= letter_width(text[end]) * size;
    if (width < 0) break;  // before a code point: its first byte has the width
  }
  return std::string(text.substr(0, end)) + "...";
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;  // XML 1.0 has no control characters
    }
  }
  return out;
}

// A value axis on the page: from `least` at pixel `begin` to `greatest` at pixel `end`.
struct Scale {
  double least, greatest, begin, end;
  double operator()(double v) const { return begin + (v - least) / (greatest - least) * (end - begin); }
};

struct Range {
  double least, greatest;
};

// Logarithmic axes are linear in exponents.
double on_axis(const Axis& axis, double v) {
  return axis.log_base > 1 ? std::log(v) / std::log(axis.log_base) : v;
}

Axis with_exponents(Axis axis) {
  for (double& v : axis.covers) v = on_axis(axis, v);
  axis.whole = axis.whole || axis.log_base > 1;
  return axis;
}

Chart with_exponents(Chart chart) {
  for (Series& s : chart.series) {
    for (auto& [x, y] : s.points) {
      x = on_axis(chart.x, x);
      y = on_axis(s.right_axis ? chart.y_right : chart.y, y);
    }
  }
  for (Axis* axis : {&chart.x, &chart.y, &chart.y_right}) *axis = with_exponents(*axis);
  return chart;
}

std::string label_on(const Axis& axis, const Ticks& ticks, int i) {
  return axis.log_base > 1 ? fmt::format("{:.15g}", std::pow(axis.log_base, ticks.at(i))) : tick_label(ticks, i);
}

template <class Value>
std::optional<Range> range_of(const Axis& axis, const std::vector<const Series*>& series, Value value) {
  std::optional<Range> range;
  const auto add = [&](double v) {
    range = range ? Range{std::min(range->least, v), std::max(range->greatest, v)} : Range{v, v};
  };
  for (const double v : axis.covers) add(v);
  for (const Series* s : series) {
    for (const auto& p : s->points) {
      if (can_be_drawn(p)) add(value(p));
    }
  }
  return range;
}

class Drawing {
 public:
  explicit Drawing(const Chart& chart) : chart_(with_exponents(chart)) {
    for (const Series& s : chart_.series) {
      if (std::ranges::any_of(s.points, can_be_drawn)) shown_.push_back(&s);
    }
  }

  std::string draw() {
    begin();
    legend();
    axes();
    for (const Series* s : shown_) line(*s);
    out_ += "</svg>\n";
    return std::move(out_);
  }

 private:
  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
  }

  void text(double x, double y, std::string_view anchor, double size, std::string_view colour, std::string_view what) {
    add("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" font-size=\"{}\" fill=\"{}\">{}</text>\n", x, y, anchor,
        size, colour, escaped(what));
  }

  void begin() {
    add("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" role=\"img\" "
        "font-family=\"system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', sans-serif\">\n"
        "<title>{2}</title>\n<rect width=\"{0}\" height=\"{1}\" rx=\"8\" fill=\"#ffffff\"/>\n",
        kWidth, kHeight, escaped(chart_.title));
    const std::string title = shortened(chart_.title, kWidth - 2 * kEdge, 1.2 * kTitleSize);  // bold is wider
    add("<text x=\"{}\" y=\"38\" font-size=\"{}\" font-weight=\"600\" fill=\"{}\">{}</text>\n", kEdge, kTitleSize, kInk,
        escaped(title));
  }

  std::string_view colour(const Series& s) const {
    return kColours[static_cast<size_t>(&s - chart_.series.data()) % kColours.size()];
  }
  static std::string_view dash(const Series& s) { return s.right_axis ? " stroke-dasharray=\"7 4\"" : ""; }

  // Rows of swatch and name under the title. A series alone needs none: title and axis say what it is.
  void legend() {
    top_ = 90;
    if (shown_.size() < 2) return;
    double x = kEdge, y = 66;
    for (const Series* s : shown_) {
      const std::string name = shortened(s->name, kWidth - 2 * kEdge - kSwatch - 8, kTextSize);
      const double width = kSwatch + 8 + text_width(name, kTextSize);
      if (x > kEdge && x + width > kWidth - kEdge) {
        x = kEdge;
        y += kLegendRow;
      }
      add("<path d=\"M{:.1f} {:.1f}h{:.1f}\" stroke=\"{}\" stroke-width=\"2.5\"{}/>\n", x, y - 4.5, kSwatch, colour(*s),
          dash(*s));
      if (s->markers) dot(*s, x + kSwatch / 2, y - 4.5);
      text(x + kSwatch + 8, y, "start", kTextSize, kInk, name);
      x += width + 22;
    }
    top_ = y + 48;
  }

  void axes() {
    const double left = kEdge + kTickWidth, bottom = kHeight - 58;
    std::vector<const Series*> on_left, on_right;
    for (const Series* s : shown_) (s->right_axis ? on_right : on_left).push_back(s);
    const double right = kWidth - kEdge - (on_right.empty() ? 0 : kTickWidth);
    const auto y_of = [](const auto& p) { return p.second; };
    const Range y = range_of(chart_.y, on_left, y_of).value_or(Range{0, 1});
    const Ticks ticks = ticks_around(y.least, y.greatest, 5, chart_.y.whole);
    y_ = {ticks.at(0), ticks.at(ticks.intervals), bottom, top_};
    for (int i = 0; i <= ticks.intervals; ++i) {
      const double at = y_(ticks.at(i));
      add("<path d=\"M{:.1f} {:.1f}H{:.1f}\" stroke=\"{}\"/>\n", left, at, right, i == 0 ? kAxis : kGrid);
      text(left - 8, at + 4.5, "end", kTextSize, kFaintInk, label_on(chart_.y, ticks, i));
    }
    const double label_width = (kWidth - 2 * kEdge) / 2 - 10;
    text(kEdge, top_ - 16, "start", kTextSize, kFaintInk, shortened(chart_.y.label, label_width, kTextSize));
    if (!on_right.empty()) {
      const Range r = range_of(chart_.y_right, on_right, y_of).value_or(Range{0, 1});
      Ticks same_lines = ticks_around(r.least, r.greatest, ticks.intervals, chart_.y_right.whole);
      same_lines.intervals = ticks.intervals;
      y_right_ = {same_lines.at(0), same_lines.at(same_lines.intervals), bottom, top_};
      for (int i = 0; i <= same_lines.intervals; ++i) {
        text(right + 8, y_right_(same_lines.at(i)) + 4.5, "start", kTextSize, kFaintInk,
             label_on(chart_.y_right, same_lines, i));
      }
      text(kWidth - kEdge, top_ - 16, "end", kTextSize, kFaintInk,
           shortened(chart_.y_right.label, label_width, kTextSize));
    }
    x_axis(left, right, bottom);
  }

  void x_axis(double left, double right, double bottom) {
    Range x = range_of(chart_.x, shown_, [](const auto& p) { return p.first; }).value_or(Range{0, 1});
    const Ticks ticks = ticks_around(x.least, x.greatest, 10, chart_.x.whole);
    if (x.least == x.greatest) x = {ticks.at(0), ticks.at(ticks.intervals)};
    x_ = {x.least, x.greatest, left, right};
    for (int i = 0; i <= ticks.intervals; ++i) {
      const double at = x_(ticks.at(i));
      if (!(at >= left - 0.5 && at <= right + 0.5)) continue;
      add("<path d=\"M{:.1f} {:.1f}v5\" stroke=\"{}\"/>\n", at, bottom, kAxis);
      text(at, bottom + 21, "middle", kTextSize, kFaintInk, label_on(chart_.x, ticks, i));
    }
    text((left + right) / 2, bottom + 43, "middle", kTextSize, kFaintInk,
         shortened(chart_.x.label, right - left, kTextSize));
  }

  void dot(const Series& s, double x, double y) {
    add("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" fill=\"{}\" stroke=\"#ffffff\" stroke-width=\"1.5\"/>\n", x, y,
        colour(s));
  }

  // Forth along the upper edge and back along the lower one, over the points that can be drawn.
  void band(const Series& s, const Scale& y) {
    std::string forth, back;
    for (size_t i = 0; i < std::min(s.points.size(), s.band.size()); ++i) {
      const auto& [x, middle] = s.points[i];
      const std::pair upper(x, middle + s.band[i]), lower(x, middle - s.band[i]);
      if (!can_be_drawn(upper) || !can_be_drawn(lower)) continue;
      fmt::format_to(std::back_inserter(forth), "{}{:.1f} {:.1f}", forth.empty() ? 'M' : 'L', x_(x), y(upper.second));
      back.insert(0, fmt::format("L{:.1f} {:.1f}", x_(x), y(lower.second)));
    }
    if (forth.empty()) return;
    add("<path d=\"{}{}Z\" fill=\"{}\" fill-opacity=\"0.18\" stroke=\"none\"/>\n", forth, back, colour(s));
  }

  void line(const Series& s) {
    const Scale& y = s.right_axis ? y_right_ : y_;
    band(s, y);
    std::string path;
    bool drawing = false;
    for (size_t i = 0; i < s.points.size(); ++i) {
      const auto& p = s.points[i];
      if (!can_be_drawn(p)) {
        drawing = false;
        continue;
      }
      fmt::format_to(std::back_inserter(path), "{}{:.1f} {:.1f}", drawing ? 'L' : 'M', x_(p.first), y(p.second));
      // A lone point between gaps would be a line of no length: a short flat one shows it.
      const bool lone = !drawing && (i + 1 == s.points.size() || !can_be_drawn(s.points[i + 1]));
      if (lone && !s.markers) path += "m-2 0h4";
      drawing = true;
    }
    add("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\" stroke-linejoin=\"round\"{}/>\n", path,
        colour(s), dash(s));
    if (!s.markers) return;
    for (const auto& p : s.points) {
      if (can_be_drawn(p)) dot(s, x_(p.first), y(p.second));
    }
  }

  const Chart chart_;
  std::vector<const Series*> shown_;
  double top_ = 0;  // pixel of the highest grid line
  Scale x_{}, y_{}, y_right_{};
  std::string out_;
};

}  // namespace

std::string to_svg(const Chart& chart) {
  return Drawing(chart).draw();
}

Ticks ticks_around(double least, double greatest, int most_intervals, bool whole) {
  require(std::isfinite(greatest - least) && least <= greatest && most_intervals >= 1,
          "ticks_around: {} intervals from {} to {}; both must be finite and in order, with at least one interval",
          most_intervals, least, greatest);
  constexpr double kSlack = 1e-9;  // of a step: 0.6 / 0.2 is a little less than 3
  const double width = greatest > least ? greatest - least : std::max(1.0, std::abs(least) * 1e-3);
  for (double power = std::floor(std::log10(width / most_intervals)) - 1;; ++power) {
    for (const double digit : {1.0, 2.0, 2.5, 5.0}) {
      const double step = power < 0 ? digit / std::pow(10, -power) : digit * std::pow(10, power);
      if (whole && step != std::floor(step)) continue;
      const double first = std::floor(least / step + kSlack);
      const double last = std::max(std::ceil(greatest / step - kSlack), first + 1);
      const bool enough = last > first && last - first <= most_intervals;  // not >: first + 1 was rounded away
      if (enough) return {.step = step, .first_step = first, .intervals = static_cast<int>(last - first)};
    }
  }
}

std::string tick_label(const Ticks& ticks, int i) {
  const double value = ticks.at(i), largest = std::max(std::abs(ticks.at(0)), std::abs(ticks.at(ticks.intervals)));
  if (value == 0) return "0";
  if (largest >= 1e10 || ticks.step < 1e-5) return fmt::format("{:.3g}", value);
  const auto [unit, suffix] = largest >= 1e7   ? std::pair(1e6, "M")
                              : largest >= 1e4 ? std::pair(1e3, "k")
                                               : std::pair(1.0, "");
  int digits = 0;
  for (double step = ticks.step / unit; std::abs(step - std::round(step)) > 1e-6 * step; step *= 10) ++digits;
  return fmt::format("{:.{}f}{}", value / unit, digits, suffix);
}

}  // namespace gradus::run
