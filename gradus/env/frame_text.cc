#include "gradus/env/frame_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "gradus/core/error.h"

namespace gradus::env {

namespace {

int squared_distance(const Rgb& a, const Rgb& b) {
  const int red = a.red - b.red, green = a.green - b.green, blue = a.blue - b.blue;
  return red * red + green * green + blue * blue;
}

// The nearest of xterm's 6 x 6 x 6 colours and its 24 greys.
int xterm_colour(const Rgb& c) {
  const auto level = [](int x) { return x < 48 ? 0 : x < 115 ? 1 : (x - 35) / 40; };
  const auto value = [](int step) { return static_cast<uint8_t>(step == 0 ? 0 : 55 + 40 * step); };
  const int red = level(c.red), green = level(c.green), blue = level(c.blue);
  const int grey = std::clamp(((c.red + c.green + c.blue) / 3 - 3) / 10, 0, 23);
  const auto grey_value = static_cast<uint8_t>(8 + 10 * grey);
  const bool is_grey = squared_distance(c, {grey_value, grey_value, grey_value}) <
                       squared_distance(c, {value(red), value(green), value(blue)});
  return is_grey ? 232 + grey : 16 + 36 * red + 6 * green + blue;
}

// `which` is 38 for the colour of characters, 48 for what is behind them.
std::string code(int which, const Rgb& c, TerminalColours colours) {
  if (colours == TerminalColours::xterm_256) return fmt::format("\x1b[{};5;{}m", which, xterm_colour(c));
  return fmt::format("\x1b[{};2;{};{};{}m", which, c.red, c.green, c.blue);
}

}  // namespace

std::string half_blocks(const Raster& raster, TerminalColours colours) {
  require(raster.height % 2 == 0, "half_blocks: {} rows of pixels do not go into lines of two", raster.height);
  std::string text;
  for (int64_t row = 0; row < raster.height; row += 2) {
    std::optional<Rgb> front, back;
    for (int64_t column = 0; column < raster.width; ++column) {
      const Rgb &upper = raster.at(row, column), &lower = raster.at(row + 1, column);
      if (back != lower) text += code(48, *(back = lower), colours);
      if (upper != lower && front != upper) text += code(38, *(front = upper), colours);
      text += upper == lower ? " " : "\u2580";
    }
    text += "\x1b[0m\n";
  }
  return text;
}

std::string frame_text(const Frame& frame, int64_t columns, int64_t lines, TerminalColours colours) {
  require(columns >= 1 && lines >= 1, "frame_text: {} columns and {} lines, but one of each is needed", columns, lines);
  require(is_finite(frame) && frame.width > 0 && frame.height > 0,
          "frame_text: the view is {} x {}, but each must be positive", frame.width, frame.height);
  const double pixel =
      std::max(frame.width / static_cast<double>(columns), frame.height / static_cast<double>(2 * lines));
  const int64_t width = std::clamp<int64_t>(std::lround(frame.width / pixel), 1, columns);
  const int64_t height = 2 * std::clamp<int64_t>(std::lround(frame.height / pixel / 2), 1, lines);
  return half_blocks(rasterise(frame, width, height), colours);
}

}  // namespace gradus::env
