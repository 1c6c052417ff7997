// Frames (frame.h) as pixels.
#pragma once

#include <cstdint>
#include <vector>

#include "gradus/env/frame.h"

namespace gradus::env {

struct Rgb {
  uint8_t red = 0, green = 0, blue = 0;
  bool operator==(const Rgb&) const = default;
};

struct Raster {
  int64_t width = 0, height = 0;
  std::vector<Rgb> pixels{};  // [height * width], from the upper left corner
  const Rgb& at(int64_t row, int64_t column) const { return pixels[static_cast<size_t>(row * width + column)]; }
};

// The frame's view as width x height pixels, each the mean of 3 x 3 points in it. Lines are drawn at least a pixel
// wide, so that none is lost. What lies outside of the view is cut off.
// Throws invalid_argument on a size below 1, a view that is not positive, numbers that are not finite, and a colour
// other than #rrggbb.
Raster rasterise(const Frame& frame, int64_t width, int64_t height);

}  // namespace gradus::env
