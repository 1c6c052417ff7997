// The program as a user runs it: started with words, read line by line, signalled, and ended.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace gradus::cli {

using Words = std::vector<std::string>;

struct Limits {
  int64_t file_bytes = 0;  // no file grows beyond this, as on a full disk; 0 = no limit
  bool terminal = false;   // stdout is one, of 80 columns and 24 lines, not a pipe
};

// How a process ended. Of one that a signal ended, exit_code is 128 and its number.
struct Outcome {
  int exit_code = 0;
  std::string out, err;
};

// A running `gradus WORDS...`. Its stdout is a pipe of one page, so that it cannot run far ahead of who reads it.
// Everything throws std::runtime_error after minutes without progress: a hang is a failure and not an endless test.
class Program {
 public:
  explicit Program(const Words& words, const Limits& limits = {});
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program();  // kills what still runs

  // Reads on until a line of stdout satisfies `wanted`; throws when the output ends before.
  std::string read_until(const std::function<bool(std::string_view line)>& wanted);
  std::string read_until(std::string_view part);  // a line that holds `part`

  void send(int signal_number);
  void close_stdout();  // as `head` does
  Outcome wait();       // reads the rest; `out` holds all lines, those read before as well

  pid_t pid() const { return pid_; }

 private:
  std::string what_was_seen() const;
  bool read_some();  // one chunk of stdout or stderr; false when both have ended

  pid_t pid_ = -1;
  int out_ = -1, err_ = -1;
  size_t line_begin_ = 0;  // in all_.out: what read_until has not seen yet
  Outcome all_;
};

Outcome run_program(const Words& words, const Limits& limits = {});

}  // namespace gradus::cli
