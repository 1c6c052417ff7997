#include "gradus/run/chart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>
#include <limits>
#include <string_view>

#include "errors.h"

namespace gradus::run {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const double kNaN = std::nan("");

std::vector<std::string> labels(const Ticks& ticks) {
  std::vector<std::string> out;
  for (int i = 0; i <= ticks.intervals; ++i) out.push_back(tick_label(ticks, i));
  return out;
}

// How often `part` stands in `text`.
int count(std::string_view text, std::string_view part) {
  int n = 0;
  for (size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

// What is wrong with `xml`, "" if nothing: tags nest and close, quotes pair, & begins one of the five entities.
std::string xml_fault(std::string_view xml) {
  std::vector<std::string> open;
  for (size_t at = 0; at < xml.size();) {
    if (xml[at] == '&') {
      const std::string_view entity = xml.substr(at, xml.find(';', at) - at);
      if (entity != "&amp" && entity != "&lt" && entity != "&gt" && entity != "&quot")
        return "entity " + std::string(entity);
    }
    if (xml[at] != '<') {
      ++at;
      continue;
    }
    const size_t end = xml.find('>', at);
    if (end == std::string_view::npos) return "a tag without an end";
    const std::string_view tag = xml.substr(at + 1, end - at - 1);
    if (count(tag, "\"") % 2 != 0 || tag.find('<') != std::string_view::npos) return "tag " + std::string(tag);
    const std::string name(tag.substr(0, tag.find_first_of(" /", 1)));
    if (name.front() == '/') {
      if (open.empty() || "/" + open.back() != name) return "closing " + name;
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(name);
    }
    at = end + 1;
  }
  return open.empty() ? "" : "never closed: " + open.back();
}

Chart two_axes() {
  return {.title = "a run",
          .x = {.label = "iteration", .covers = {0}, .whole = true},
          .y = {.label = "share", .covers = {0, 1}},
          .y_right = {.label = "tokens", .covers = {0}},
          .series = {{.name = "reward", .points = {{1, 0.25}, {2, 0.5}, {3, 0.75}}},
                     {.name = "length", .points = {{1, 10}, {2, 17}, {3, 23}}, .right_axis = true}}};
}

TEST(Ticks, AreRoundNumbersAroundTheValues) {
  EXPECT_THAT(labels(ticks_around(0, 1, 5)), ElementsAre("0", "0.2", "0.4", "0.6", "0.8", "1.0"));
  EXPECT_THAT(labels(ticks_around(0, 1.01, 5)), ElementsAre("0", "0.25", "0.50", "0.75", "1.00", "1.25"));
  EXPECT_THAT(labels(ticks_around(-3, 12, 5)), ElementsAre("-5", "0", "5", "10", "15"));
}

TEST(Ticks, OfLargeNumbersAreShort) {
  EXPECT_THAT(labels(ticks_around(0, 5000, 5)), ElementsAre("0", "1000", "2000", "3000", "4000", "5000"));
  EXPECT_THAT(labels(ticks_around(0, 50000, 2)), ElementsAre("0", "25k", "50k"));
  EXPECT_THAT(labels(ticks_around(0, 1e7, 4)), ElementsAre("0", "2.5M", "5.0M", "7.5M", "10.0M"));
}

TEST(Ticks, AtWholeNumbersHaveNoFractions) {
  EXPECT_THAT(labels(ticks_around(0, 1, 10, true)), ElementsAre("0", "1"));
  EXPECT_THAT(labels(ticks_around(0, 10, 4, true)), ElementsAre("0", "5", "10"));
}

TEST(Ticks, OfOneValueHaveAnInterval) {
  for (const double v : {0.0, 1.0, -0.3, 7e9}) {
    const Ticks ticks = ticks_around(v, v, 5);
    EXPECT_LE(ticks.at(0), v);
    EXPECT_LT(ticks.at(0), ticks.at(ticks.intervals));
  }
}

TEST(Ticks, ReachAroundAnyTwoNumbers) {
  EXPECT_TRUE(rc::check([](double a, double b) {
    RC_PRE(std::abs(a) < 1e300 && std::abs(b) < 1e300);
    const auto [least, greatest] = std::minmax(a, b);
    const Ticks ticks = ticks_around(least, greatest, 5);
    const double slack = 1e-8 * ticks.step;
    RC_ASSERT(ticks.intervals >= 1 && ticks.intervals <= 5);
    RC_ASSERT(ticks.at(0) <= least + slack && ticks.at(ticks.intervals) >= greatest - slack);
  }));
}

TEST(Ticks, OfInfinityAreRefused) {
  EXPECT_THAT(error_of([] { ticks_around(0, HUGE_VAL, 5); }), Throws(ErrorCode::invalid_argument, "ticks_around"));
}

TEST(Chart, IsWellFormedAndNamesWhatItShows) {
  const std::string svg = to_svg(two_axes());
  EXPECT_EQ(xml_fault(svg), "");
  for (const char* text : {">a run<", ">iteration<", ">share<", ">tokens<", ">reward<", ">length<", ">0.4<", ">20<"}) {
    EXPECT_THAT(svg, HasSubstr(text));
  }
}

TEST(Chart, EqualChartsGiveEqualText) {
  EXPECT_EQ(to_svg(two_axes()), to_svg(two_axes()));
}

TEST(Chart, ABandGoesForthAndBackAroundItsLine) {
  Chart chart{.title = "t", .series = {{.name = "a", .points = {{0, 1}, {1, 2}, {2, kNaN}, {3, 4}}}}};
  EXPECT_THAT(to_svg(chart), Not(HasSubstr("fill-opacity")));
  chart.series[0].band = {0.5, 0.5, 0.5, 0.5};
  const std::string svg = to_svg(chart);
  EXPECT_EQ(xml_fault(svg), "");
  const size_t end = svg.find("Z\" fill=");
  const size_t begin = svg.rfind("<path d=\"", end);
  EXPECT_EQ(count(svg.substr(begin, end - begin), "L"), 5);  // three points that can be drawn, there and back
}

TEST(Chart, EscapesText) {
  Chart chart = two_axes();
  chart.title = "a < b & \"c\"\x01";
  const std::string svg = to_svg(chart);
  EXPECT_EQ(xml_fault(svg), "");
  EXPECT_THAT(svg, HasSubstr(">a &lt; b &amp; &quot;c&quot; <"));
}

TEST(Chart, CutsLongTextBetweenLetters) {
  Chart chart = two_axes();
  chart.title.clear();
  for (int i = 0; i < 100; ++i) chart.title += "\xc3\xa9";  // e with an acute accent
  const std::string svg = to_svg(chart);
  EXPECT_THAT(svg, HasSubstr("\xc3\xa9...</text>"));
}

TEST(Chart, AValueThatIsNotFiniteIsAGap) {
  for (const double nothing : {kNaN, HUGE_VAL, -HUGE_VAL, std::numeric_limits<double>::max()}) {
    const Chart chart{.series = {{.name = "a", .points = {{0, 1}, {1, 2}, {2, nothing}, {3, 2}, {4, 1}}}}};
    const std::string svg = to_svg(chart);
    EXPECT_EQ(xml_fault(svg), "");
    const size_t line = svg.find("<path d=\"M", svg.rfind("</text>"));
    const std::string_view path = std::string_view(svg).substr(line, svg.find("\" fill", line) - line);
    EXPECT_EQ(count(path, "M"), 2) << path;
    EXPECT_EQ(count(path, "L"), 2) << path;
  }
}

TEST(Chart, APointAloneIsSeen) {
  EXPECT_THAT(to_svg({.series = {{.name = "a", .points = {{3, 5}}}}}), HasSubstr("m-2 0h4"));
}

TEST(Chart, MarksEachPointWhenAsked) {
  const Chart chart{.series = {{.name = "a", .points = {{0, 1}, {1, kNaN}, {2, 3}}, .markers = true}}};
  EXPECT_EQ(count(to_svg(chart), "<circle"), 2);
}

TEST(Chart, LogarithmicAxesTickAtPowersAndDrawPowersAsALine) {
  const std::string svg = to_svg({.x = {.log_base = 2},
                                  .y = {.log_base = 10},
                                  .series = {{.name = "x^2", .points = {{1, 0.01}, {4, 0.16}, {0, 1}, {16, 2.56}}}}});
  EXPECT_EQ(xml_fault(svg), "");
  for (const char* tick : {">1<", ">2<", ">16<", ">0.01<", ">0.1<", ">10<"}) EXPECT_THAT(svg, HasSubstr(tick));
  EXPECT_THAT(svg, Not(HasSubstr(">0<")));
  EXPECT_EQ(count(svg.substr(svg.find("<path d=\"M", svg.rfind("</text>"))), "M"), 2);  // a gap where x is 0
}

TEST(Chart, WithoutDataIsAnEmptyFrame) {
  const std::string svg =
      to_svg({.title = "nothing yet", .series = {{.name = "a"}, {.name = "b", .points = {{1, kNaN}}}}});
  EXPECT_EQ(xml_fault(svg), "");
  EXPECT_THAT(svg, HasSubstr("nothing yet"));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

TEST(Chart, LeavesEmptySeriesOutAndKeepsTheColoursOfOthers) {
  Chart chart = two_axes();
  const std::string all = to_svg(chart);
  chart.series[0].points = {{1, kNaN}};
  const std::string rest = to_svg(chart);
  EXPECT_THAT(rest, Not(HasSubstr(">reward<")));
  EXPECT_THAT(rest, HasSubstr("#d55e00"));
  EXPECT_THAT(all, HasSubstr("#d55e00"));
}

}  // namespace
}  // namespace gradus::run
