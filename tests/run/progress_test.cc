#include "gradus/run/progress.h"

#include <gtest/gtest.h>

#include <vector>

#include "errors.h"

namespace gradus::run {
namespace {

struct Screen {
  double now_s = 100;
  std::vector<std::string> lines;
  ProgressOptions options(bool terminal) {
    return {.label = "k15",
            .unit = "step",
            .total = 40,
            .terminal = terminal,
            .sink = [this](std::string_view s) { lines.emplace_back(s); },
            .now_s = [this] { return now_s; }};
  }
};

TEST(FormatDuration, ShortestReadableForm) {
  EXPECT_EQ(format_duration(0.42), "0.4s");
  EXPECT_EQ(format_duration(9.96), "10s");
  EXPECT_EQ(format_duration(185), "3m 05s");
  EXPECT_EQ(format_duration(7625), "2h 07m");
  EXPECT_EQ(format_duration(86400 * 4 + 3600 * 3), "4d 03h");
  EXPECT_EQ(format_duration(-1), "?");
}

TEST(FormatCount, ThreeDigits) {
  EXPECT_EQ(format_count(4.213), "4.21");
  EXPECT_EQ(format_count(137), "137");
  EXPECT_EQ(format_count(13711), "13.7k");
  EXPECT_EQ(format_count(999'600), "1.00M");
  EXPECT_EQ(format_count(0), "0.00");
}

TEST(Progress, PlainLinesComeAtMostOncePerInterval) {
  Screen screen;
  Progress progress(screen.options(false));
  for (int64_t i = 1; i <= 40; ++i) {
    screen.now_s += 1;
    progress.update(i, "reward 0.71");
  }
  progress.finish("reward 0.90");
  EXPECT_EQ(screen.lines.size(), 9u);  // at 1, 6, ..., 36 s and the last
  EXPECT_EQ(screen.lines[1], "k15  6/40  15%  1.00 step/s  34s left  reward 0.71\n");
  EXPECT_EQ(screen.lines.back(), "k15  40/40  100%  1.00 step/s  took 40s  reward 0.90\n");
}

TEST(Progress, TerminalLineRewritesItselfAndFits) {
  Screen screen;
  ProgressOptions o = screen.options(true);
  o.columns = 12;
  Progress progress(o);
  progress.update(1);
  EXPECT_EQ(screen.lines.back(), "\r\x1b[2Kk15  1/40");
  progress.finish();
  EXPECT_EQ(screen.lines.back().back(), '\n');
}

TEST(Progress, ResumedWorkCountsOnlyItsOwnRate) {
  Screen screen;
  ProgressOptions o = screen.options(false);
  o.first = 30;
  Progress progress(o);
  screen.now_s += 5;
  progress.update(35);
  EXPECT_EQ(progress.rate(), 1.0);
  EXPECT_EQ(progress.seconds_left(), 5.0);
}

TEST(Progress, NothingIsKnownBeforeTheFirstStep) {
  Screen screen;
  Progress progress(screen.options(false));
  EXPECT_EQ(progress.seconds_left(), std::nullopt);
  EXPECT_EQ(progress.line(""), "k15  0/40  0%");
  EXPECT_THAT(error_of([] { Progress({}); }), Throws(ErrorCode::invalid_argument, "no sink"));
}

}  // namespace
}  // namespace gradus::run
