// One rank of a launched job, as a child process: started here or through ssh, its lines collected.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gradus/comm/environment.h"
#include "gradus/comm/socket.h"

namespace gradus::comm {

struct ProcessToStart {
  Environment environment;         // the rank's, with the job's token
  std::string host;                // empty: this one
  std::vector<std::string> words;  // program and arguments
  std::vector<std::string> ssh;
};

class LaunchedProcess {
 public:
  using Show = std::function<void(const std::string& line)>;

  // Throws io when the program is not there, exhausted when the system refuses another process.
  explicit LaunchedProcess(const ProcessToStart& p);
  LaunchedProcess(const LaunchedProcess&) = delete;
  LaunchedProcess& operator=(const LaunchedProcess&) = delete;
  ~LaunchedProcess();  // kills what still runs

  int rank() const { return rank_; }
  bool running() const { return pid_ > 0; }
  int exit_code() const { return exit_code_; }  // once it has ended; 128 + signal
  bool ended_by_signal() const { return signal_ != 0; }
  std::string text() const;       // "rank 2 (process 4711)", "rank 2 on node3"
  std::string how_ended() const;  // "ended with exit code 1", "was ended by signal 9 (Killed)"

  // Looks whether it has ended, or was stopped. Its last words are to be taken afterwards.
  void reap();
  std::optional<std::chrono::steady_clock::time_point> stopped_since() const { return stopped_since_; }
  // Shows what it wrote, line by line behind its rank; at its end the last one even if it is not whole.
  void show_lines(const Show& show);

  void interrupt();  // asks it to end in order
  void kill();

  // What to poll for: its end, and its words. -1: nothing.
  int end_descriptor() const { return running() ? end_.get() : -1; }
  int words_descriptor() const { return words_.get(); }

 private:
  int rank_;
  std::string host_;
  pid_t pid_ = -1, started_as_ = -1;
  int exit_code_ = 0, signal_ = 0;
  std::optional<std::chrono::steady_clock::time_point> stopped_since_;
  Descriptor end_, words_, input_;
  std::string unfinished_;
};

// `word` as a shell reads it back.
std::string quoted_for_shell(std::string_view word);

}  // namespace gradus::comm
