#include "gradus/env/raster.h"

#include <cmath>
#include <limits>

#include "tests/core/expect_error.h"

namespace gradus::env {
namespace {

constexpr Rgb kWhite{255, 255, 255}, kInk{0x11, 0x22, 0x33};

// A view of 10 x 6 units with one shape, painted as 10 x 6 pixels.
Raster painted(const Look& look, Pose pose = {}) {
  Frame f{.width = 10, .height = 6};
  f.shapes = {{look, pose}};
  return rasterise(f, 10, 6);
}

int64_t n_inked(const Raster& r) {
  return std::ranges::count_if(r.pixels, [](const Rgb& c) { return c != kWhite; });
}

TEST(Raster, HasTheSizeThatIsAskedForAndTheBackground) {
  const Frame f{.background = "#102030"};
  for (const auto& [width, height] : {std::pair{1, 1}, {7, 2}, {2, 31}}) {
    const Raster r = rasterise(f, width, height);
    EXPECT_EQ(r.width, width);
    EXPECT_EQ(r.height, height);
    EXPECT_EQ(r.pixels, std::vector(static_cast<size_t>(width * height), Rgb{0x10, 0x20, 0x30}));
  }
}

TEST(Raster, AHorizontalLineInksOneRow) {
  const Raster r = painted(line({{-1, 4.5}, {11, 4.5}}, "#112233", 1));
  for (int64_t row = 0; row < r.height; ++row) {
    for (int64_t column = 0; column < r.width; ++column) EXPECT_EQ(r.at(row, column), row == 1 ? kInk : kWhite);
  }
}

TEST(Raster, AThinLineIsAPixelWide) {
  EXPECT_EQ(painted(line({{-1, 4.5}, {11, 4.5}}, "#112233", 0.001)).pixels,
            painted(line({{-1, 4.5}, {11, 4.5}}, "#112233", 1)).pixels);
  EXPECT_EQ(painted(line({{-4, 0}, {4, 0}}, "#112233", 0.001), {.x = 5, .y = 4.5, .scale = 3}).pixels,
            painted(line({{-1, 4.5}, {11, 4.5}}, "#112233", 1)).pixels);
}

TEST(Raster, ABoxInksItsPixelsAndNoOthers) {
  const Raster r = painted(box({2, 1}, {5, 3}, "#112233"));
  for (int64_t row = 0; row < r.height; ++row) {
    for (int64_t column = 0; column < r.width; ++column) {
      const bool inside = column >= 2 && column < 5 && row >= 3 && row < 5;
      EXPECT_EQ(r.at(row, column), inside ? kInk : kWhite) << row << ' ' << column;
    }
  }
}

TEST(Raster, AQuarterTurnIsCounterclockwise) {
  EXPECT_EQ(painted(box({0, 0}, {3, 1}, "#112233"), {.x = 4, .y = 2, .angle_rad = std::acos(0)}).pixels,
            painted(box({3, 2}, {4, 5}, "#112233")).pixels);
}

TEST(Raster, AScaledShapeIsTheLargerOneAndOfScaleZeroNone) {
  EXPECT_EQ(painted(circle({0.5, 0}, 1, "#112233"), {.x = 4, .y = 3, .scale = 2}).pixels,
            painted(circle({5, 3}, 2, "#112233")).pixels);
  EXPECT_EQ(n_inked(painted(circle({0, 0}, 1, "#112233"), {.x = 4, .y = 3, .scale = 0})), 0);
}

TEST(Raster, ACircleHasItsAreaAndAnOutlineIsARing) {
  Frame f{.left = -1, .bottom = -1, .width = 2, .height = 2};
  f.shapes = {{circle({0, 0}, 0.8, "#000000")}};
  const auto share = [](const Raster& r) {
    double ink = 0;
    for (const Rgb& c : r.pixels) ink += (255 - c.red) / 255.0;
    return ink / static_cast<double>(r.pixels.size());
  };
  const double pi = std::acos(-1);
  EXPECT_NEAR(share(rasterise(f, 100, 100)), pi * 0.8 * 0.8 / 4, 2e-3);
  f.shapes = {{outlined(circle({0, 0}, 0.8, ""), "#000000", 0.1)}};
  EXPECT_NEAR(share(rasterise(f, 100, 100)), 2 * pi * 0.8 * 0.1 / 4, 2e-3);
}

TEST(Raster, WhatIsOutsideIsCutOff) {
  for (const Pose& away : {Pose{.x = -20}, Pose{.x = 20}, Pose{.y = -20}, Pose{.y = 1e300}}) {
    EXPECT_EQ(n_inked(painted(circle({0, 0}, 2, "#112233"), away)), 0);
    EXPECT_EQ(n_inked(painted(line({{0, 0}, {1, 1}}, "#112233", 1), away)), 0);
  }
  EXPECT_EQ(n_inked(painted(box({-1e9, -1e9}, {1e9, 1e9}, "#112233"))), 60);
  EXPECT_EQ(n_inked(painted(box({-5, 5}, {1, 50}, "#112233"))), 1);
}

TEST(Raster, LaterShapesLieOverEarlierOnes) {
  Frame f{.width = 1, .height = 1};
  f.shapes = {{box({0, 0}, {1, 1}, "#ff0000")}, {box({0, 0}, {1, 1}, "#112233")}};
  EXPECT_EQ(rasterise(f, 1, 1).pixels, std::vector{kInk});
}

TEST(Raster, APixelIsTheMeanOfWhatItShows) {
  Frame f{.width = 3, .height = 1, .background = "#000000"};
  f.shapes = {{box({0, 0}, {1, 1}, "#ffffff")}};
  EXPECT_EQ(rasterise(f, 1, 1).pixels, (std::vector{Rgb{85, 85, 85}}));
}

TEST(Raster, RefusesWhatCannotBePainted) {
  Frame f;
  EXPECT_GRADUS_ERROR(rasterise(f, 0, 5), invalid_argument, "rasterise: 0 x 5 pixels");
  f.shapes = {{circle({0, 0}, 1, "red")}};
  EXPECT_GRADUS_ERROR(rasterise(f, 5, 5), invalid_argument, "the colour 'red' is not #rrggbb");
  f.shapes = {{circle({0, std::nan("")}, 1, "#112233")}};
  EXPECT_GRADUS_ERROR(rasterise(f, 5, 5), invalid_argument, "not finite");
  EXPECT_GRADUS_ERROR(rasterise(Frame{.width = 0}, 5, 5), invalid_argument, "the view is 0 x 1");
}

}  // namespace
}  // namespace gradus::env
