#include "gradus/run/progress.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "gradus/core/error.h"

namespace gradus::run {

namespace {

double steady_now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

constexpr std::string_view kRewriteLine = "\r\x1b[2K";  // to the first column, erase the line

// The first `columns` characters; what stands two blanks apart is left out as a whole, where that leaves at least half
// of them. Multi-byte UTF-8 is not cut inside.
std::string_view fitting(std::string_view line, int columns) {
  if (columns <= 0) return line;
  size_t end = 0;
  for (int used = 0; end < line.size(); ++end) {
    const bool begins_character = (static_cast<unsigned char>(line[end]) & 0xc0) != 0x80;
    if (begins_character && ++used > columns) break;
  }
  if (end == line.size()) return line;
  const size_t gap = line.rfind("  ", end);
  return line.substr(0, gap != line.npos && gap > end / 2 ? gap : end);
}

// Whole numbers up to 9999, then three digits: "40", "2.41M".
std::string short_count(int64_t n) {
  return n < 10000 ? fmt::format("{}", n) : format_count(static_cast<double>(n));
}

}  // namespace

std::string format_duration(double seconds) {
  if (!(seconds >= 0) || seconds > 1e9) return "?";
  if (seconds < 9.95) return fmt::format("{:.1f}s", seconds);
  const int64_t s = std::llround(seconds);
  if (s < 60) return fmt::format("{}s", s);
  if (s < 3600) return fmt::format("{}m {:02d}s", s / 60, s % 60);
  if (s < 86400) return fmt::format("{}h {:02d}m", s / 3600, s / 60 % 60);
  return fmt::format("{}d {:02d}h", s / 86400, s / 3600 % 24);
}

std::string format_count(double value) {
  std::string_view unit;
  for (const std::string_view larger : {"k", "M", "G", "T"}) {
    if (std::abs(value) < 999.5) break;
    value /= 1000;
    unit = larger;
  }
  const double size = std::abs(value);
  const int decimals = size < 9.995 ? 2 : size < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f}{}", value, decimals, unit);
}

Progress::Progress(ProgressOptions options) : options_(std::move(options)), done_(options_.first) {
  require(static_cast<bool>(options_.sink), "progress: no sink was given");
  if (!options_.now_s) options_.now_s = steady_now_s;
  if (options_.interval_s <= 0) options_.interval_s = options_.terminal ? 0.1 : 5.0;
  start_s_ = now_s_ = options_.now_s();
}

void Progress::update(int64_t done, std::string_view detail) {
  if (finished_) return;
  done_ = done;
  now_s_ = options_.now_s();
  if (!last_line_s_ || now_s_ - *last_line_s_ >= options_.interval_s) write(detail, false);
}

void Progress::finish(std::string_view detail) {
  if (finished_) return;
  now_s_ = options_.now_s();
  write(detail, true);
  finished_ = true;
}

double Progress::rate() const {
  const double elapsed_s = now_s_ - start_s_;
  return elapsed_s > 0 ? static_cast<double>(done_ - options_.first) / elapsed_s : 0;
}

std::optional<double> Progress::seconds_left() const {
  if (options_.total <= 0 || !(rate() > 0)) return std::nullopt;
  return std::max(0.0, static_cast<double>(options_.total - done_) / rate());
}

std::string Progress::line(std::string_view detail) const {
  std::string s = fmt::format("{}  {}", options_.label, short_count(done_));
  if (options_.total > 0) {
    s += fmt::format("/{}  {}%", short_count(options_.total),
                     static_cast<int>(100.0 * static_cast<double>(done_) / static_cast<double>(options_.total)));
  }
  if (rate() > 0 && !options_.unit.empty()) s += fmt::format("  {} {}/s", format_count(rate()), options_.unit);
  if (options_.total > 0 && done_ >= options_.total) {
    s += fmt::format("  took {}", format_duration(now_s_ - start_s_));
  } else if (const auto left = seconds_left()) {
    s += fmt::format("  {} left", format_duration(*left));
  }
  if (!detail.empty()) s += fmt::format("  {}", detail);
  return s;
}

void Progress::write(std::string_view detail, bool last) {
  last_line_s_ = now_s_;
  const std::string text = line(detail);
  if (options_.terminal) {
    options_.sink(fmt::format("{}{}{}", kRewriteLine, fitting(text, options_.columns - 1), last ? "\n" : ""));
  } else {
    options_.sink(text + '\n');
  }
}

}  // namespace gradus::run
