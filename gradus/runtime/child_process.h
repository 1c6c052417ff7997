// A child program that is spoken to in lines over pipes: it reads requests on stdin and writes replies on stdout. Used
// for reward programs and environments. Its stderr is kept for error messages.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gradus::runtime {

// Every wait has a deadline; each call looks at least once, even when it has passed already. A line is text without
// '\n'. One thread at a time. Works whether or not SIGPIPE is ignored.
//
// Every function below throws
//   peer_lost         the program has ended, or closed its stdout; the message names it, its exit code and its last
//   words exhausted         it wrote a line longer than kMaxLineBytes io                the system refused a read or a
//   write
class ChildProcess {
 public:
  using Deadline = std::chrono::steady_clock::time_point;
  static constexpr std::size_t kMaxLineBytes = std::size_t{16} << 20;
  static constexpr std::size_t kKeptStderrBytes = 4096;

  // Starts argv[0] (found through PATH if it holds no '/') in a process group of its own, with this process's
  // environment and folder. Throws not_found if there is no such program, invalid_argument if it cannot be run,
  // exhausted if the system is full.
  explicit ChildProcess(std::vector<std::string> argv);

  // Ends the program and all it started in its group: closes its stdin, SIGTERM, after kGrace SIGKILL; then reaps it.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Sends one line; what the program writes meanwhile is kept for read_line. On Error{timeout} the line may be sent in
  // part and goes on with the next call. Throws invalid_argument if `line` holds '\n'.
  void write_line(std::string_view line, Deadline deadline);

  // The next line, without its end. On Error{timeout} nothing is lost; a later call may find it. A last line without
  // '\n' is no line: it may be half of one.
  std::string read_line(Deadline deadline);

  // Sends all lines and returns exactly one reply line for each, in order; reads while it writes, so that neither side
  // can block the other. Throws timeout if the replies are not all there in time; the program is then ended, since a
  // late reply would be taken for the answer to a later question. Throws corrupt if the program wrote lines that nobody
  // asked for.
  std::vector<std::string> exchange(std::span<const std::string> lines, Deadline deadline);

  pid_t pid() const { return pid_; }

  // The last kKeptStderrBytes of what the program wrote to stderr, as far as they have been read.
  const std::string& stderr_tail() const { return stderr_tail_; }

  // "; it said: A | B": the last three of its lines there, for the end of an error message; "" without any.
  std::string last_words() const;

  // How long a program may take to end by itself after SIGTERM.
  static constexpr std::chrono::milliseconds kGrace{500};

 private:
  bool has_line() const { return newline_ != std::string::npos; }
  std::string take_line();
  void require_alive() const;
  void require_one_line(std::string_view line) const;
  void queue_line(std::string_view line);
  void transfer();
  void send();
  void receive();
  void receive_stderr();
  void wait_ready(Deadline deadline) const;
  void close_descriptor(int& fd);
  int end_group(bool at_once);
  void stop_now();
  [[noreturn]] void fail_lost(std::string_view progress);

  std::string program_;  // argv[0], for messages
  pid_t pid_ = -1;       // -1 once reaped
  int stdin_ = -1;       // our ends, non-blocking; -1 = closed
  int stdout_ = -1;
  int stderr_ = -1;
  std::string outgoing_;  // queued for the program; the first n_sent_ bytes are gone
  std::size_t n_sent_ = 0;
  std::string incoming_;  // read and not yet taken; the first n_taken_ bytes are gone
  std::size_t n_taken_ = 0;
  std::size_t newline_ = std::string::npos;  // of the first whole line in incoming_
  std::size_t n_searched_ = 0;               // incoming_ holds no '\n' in [n_taken_, n_searched_) when newline_ is npos
  std::string stderr_tail_;
  std::string ending_;  // "exited with code 1"; empty while it runs
};

}  // namespace gradus::runtime
