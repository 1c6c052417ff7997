// Line charts as SVG text: what a run shows of itself without any other program. One look for all charts: white ground,
// so that it reads on dark pages too, light grid, colours that colour-blind readers tell apart (Okabe and Ito, 2008).
// Reading metrics from a run's database lives with who knows their names: gradus/posttrain/curves.h.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace gradus::run {

struct Axis {
  std::string label{};
  std::vector<double> covers{};  // values to be seen on the axis besides the data's: {0, 1}
  bool whole = false;            // ticks at whole numbers only
  double log_base = 0;           // above 1: logarithmic, ticks at its powers; what is not positive is not drawn
};

struct Series {
  std::string name{};
  std::vector<std::pair<double, double>> points{};  // x, y; a y that is not finite is a gap in the line
  bool right_axis = false;                          // measured on the right axis; drawn dashed
  bool markers = false;                             // a dot at each point
  std::vector<double> band{};  // of each point: how far a pale band reaches to both sides; or empty
};

// For up to a dozen series. Text is UTF-8. Series without a finite point are left out; the right axis shows only when a
// series needs it.
struct Chart {
  std::string title{};
  Axis x{}, y{}, y_right{};
  std::vector<Series> series{};  // colours in this order: blue, vermilion, green, purple, orange, sky blue, black
};

// A whole SVG document of 800 x 450. Equal charts give equal text. Texts too long for their place are cut. Throws
// invalid_argument when an axis covers a value that is not finite.
std::string to_svg(const Chart& chart);

// Round numbers of one distance: first, first + step, ..., first + intervals * step.
struct Ticks {
  double step = 1;        // 1, 2, 2.5 or 5 times a power of ten
  double first_step = 0;  // first = first_step * step, a whole number
  int intervals = 1;
  double at(int i) const { return (first_step + i) * step; }
};

// The smallest distance with which at most `most_intervals` (at least 1) reach from at or below `least` to at or above
// `greatest`. Both finite, least <= greatest; equal ones get an interval of their own. Steps are whole if `whole`.
Ticks ticks_around(double least, double greatest, int most_intervals, bool whole = false);

// "0.25", "1500", "20k", "2.5M": with the digits that tell it from its neighbours.
std::string tick_label(const Ticks& ticks, int i);

}  // namespace gradus::run
