#include "gradus/env/frame_text.h"

#include "tests/core/expect_error.h"

namespace gradus::env {
namespace {

// How many characters each line shows.
std::vector<int64_t> widths(const std::string& text) {
  std::vector<int64_t> widths;
  int64_t n = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b') {
      i = text.find('m', i);
    } else if (text[i] == '\n') {
      widths.push_back(std::exchange(n, 0));
    } else if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) {
      ++n;
    }
  }
  return widths;
}

TEST(FrameText, FillsTheColumnsOrTheLinesAndKeepsItsProportions) {
  const Frame wide{.width = 4, .height = 1}, high{.width = 1, .height = 1};
  EXPECT_EQ(widths(frame_text(wide, 80, 24, TerminalColours::all)), std::vector<int64_t>(10, 80));
  EXPECT_EQ(widths(frame_text(high, 80, 24, TerminalColours::all)), std::vector<int64_t>(24, 48));
  EXPECT_EQ(widths(frame_text(wide, 1, 1, TerminalColours::xterm_256)), std::vector<int64_t>(1, 1));
}

TEST(HalfBlocks, ACharacterIsTwoPixelsAndAColourIsSaidOnce) {
  const Rgb black{}, white{255, 255, 255};
  const Raster r{.width = 3, .height = 2, .pixels = {black, black, white, white, white, white}};
  EXPECT_EQ(half_blocks(r, TerminalColours::all), "\x1b[48;2;255;255;255m\x1b[38;2;0;0;0m\u2580\u2580 \x1b[0m\n");
}

TEST(HalfBlocks, AColourIsTheNearestThatXtermHas) {
  const auto code = [](const Rgb& c) {
    return half_blocks({.width = 1, .height = 2, .pixels = {c, c}}, TerminalColours::xterm_256);
  };
  EXPECT_EQ(code({255, 0, 0}), "\x1b[48;5;196m \x1b[0m\n");
  EXPECT_EQ(code({0, 95, 215}), "\x1b[48;5;26m \x1b[0m\n");
  EXPECT_EQ(code({120, 118, 117}), "\x1b[48;5;243m \x1b[0m\n");  // the grey 118
}

TEST(HalfBlocks, RefusesHalfALine) {
  EXPECT_GRADUS_ERROR(half_blocks({.width = 1, .height = 1, .pixels = {{}}}, TerminalColours::all), invalid_argument,
                      "1 rows of pixels");
  EXPECT_GRADUS_ERROR(frame_text({}, 0, 5, TerminalColours::all), invalid_argument, "0 columns and 5 lines");
}

}  // namespace
}  // namespace gradus::env
