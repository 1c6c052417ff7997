#include "apps/gradus/animation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <string_view>

#include "gradus/env/frame_text.h"
#include "gradus/runtime/interrupt.h"

namespace gradus::app {

namespace {

// More characters show no more, and are more for a slow line to carry.
constexpr int kMostColumns = 120;

env::TerminalColours colours_of_terminal() {
  const char* said = std::getenv("COLORTERM");
  const bool all = said != nullptr && (std::string_view(said) == "truecolor" || std::string_view(said) == "24bit");
  return all ? env::TerminalColours::all : env::TerminalColours::xterm_256;
}

// No cursor, and long lines cut and not broken, as long as this lives.
class DrawingMode {
 public:
  explicit DrawingMode(Output& out) : out_(out) { out_.text("\x1b[?25l\x1b[?7l"); }
  DrawingMode(const DrawingMode&) = delete;
  DrawingMode& operator=(const DrawingMode&) = delete;
  ~DrawingMode() {
    try {
      out_.text("\x1b[0m\x1b[?7h\x1b[?25h");
    } catch (...) {  // there is no terminal any more
    }
  }

 private:
  Output& out_;
};

// The times at which frames are due, on a clock that nobody sets. A signal ends a wait.
class Pace {
 public:
  explicit Pace(double speed) : speed_(speed) { ::clock_gettime(CLOCK_MONOTONIC, &due_); }

  void wait(double seconds) {
    if (speed_ == 0) return;
    const double ns = std::min(seconds / speed_, 1e6) * 1e9 + static_cast<double>(due_.tv_nsec);
    due_.tv_sec += static_cast<time_t>(ns / 1e9);
    due_.tv_nsec = static_cast<long>(std::fmod(ns, 1e9));
    ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due_, nullptr);
  }

 private:
  double speed_;
  timespec due_{};
};

}  // namespace

bool animate(std::span<const env::Frame> frames, const AnimationOptions& options, Output& out) {
  runtime::install_interrupt_handlers();
  const env::TerminalColours colours = colours_of_terminal();
  const int columns = std::min(out.columns(), kMostColumns), lines = std::max(out.lines() - 2, 1);
  const DrawingMode mode(out);
  Pace pace(options.speed);
  for (size_t t = 0; t < frames.size() && !runtime::interrupt_requested(); ++t) {
    const std::string picture = env::frame_text(frames[t], columns, lines, colours);
    const auto over = t == 0 ? "" : fmt::format("\x1b[{}A", std::ranges::count(picture, '\n') + 1);
    out.text(fmt::format("{}{}{}\x1b[K\n", over, picture, options.caption(t)));
    pace.wait(frames[t].seconds);
  }
  return !runtime::interrupt_requested();
}

}  // namespace gradus::app
