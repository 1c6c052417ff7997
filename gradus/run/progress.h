// How far long work is: rate, time left, and a line of text about it. Prints nothing: lines go to a sink the program
// gives.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace gradus::run {

// "0.4s", "12s", "3m 05s", "2h 07m", "4d 03h".
std::string format_duration(double seconds);

// Three significant digits with k, M, G: "4.21", "137", "13.7k".
std::string format_count(double value);

struct ProgressOptions {
  std::string label{};    // "k15"
  std::string unit{};     // what is counted: "step", "token"; "": no rate is shown
  int64_t total = 0;      // 0: not known
  int64_t first = 0;      // done before this process began (a resumed run)
  bool terminal = false;  // one line that rewrites itself; else plain lines
  int columns = 80;       // of the terminal
  double interval_s = 0;  // least time between two lines; 0: 0.1 s on a terminal, 5 s elsewhere
  std::function<void(std::string_view)>
      sink{};                       // receives text as it is to be written, line ends and control codes included
  std::function<double()> now_s{};  // a steady clock; empty: the system's
};

// Used by one thread.
class Progress {
 public:
  // Throws invalid_argument without a sink.
  explicit Progress(ProgressOptions options);

  // `done` of the total are done; `detail` is shown behind ("loss 0.43"). Writes a line when one is due.
  void update(int64_t done, std::string_view detail = {});

  // The last line, always written; on a terminal it stays. Later calls have no effect.
  void finish(std::string_view detail = {});

  double rate() const;                         // units per second of this process
  std::optional<double> seconds_left() const;  // empty while unknown

  // "k15  12/40  30%  0.41 step/s  1m 08s left  reward 0.71"
  std::string line(std::string_view detail) const;

 private:
  void write(std::string_view detail, bool last);

  ProgressOptions options_;
  double start_s_ = 0;
  double now_s_ = 0;  // at the last update
  std::optional<double> last_line_s_;
  int64_t done_ = 0;
  bool finished_ = false;
};

}  // namespace gradus::run
