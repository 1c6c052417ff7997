#include "gradus/runtime/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "gradus/core/error.h"
#include "gradus/runtime/descriptor.h"

extern char** environ;

namespace gradus::runtime {

namespace {

// Bytes of one line that an error message quotes.
constexpr std::size_t kQuotedBytes = 200;

struct Pipe {
  Descriptor read, write;
};

// The same open file under a number that is none of 0, 1, 2, so that the child's dup2 calls cannot overwrite one
// another.
Descriptor above_standard_streams(Descriptor fd) {
  if (fd.get() > 2) return fd;
  Descriptor moved(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
  if (moved.get() < 0)
    fail(ErrorCode::exhausted, "pipe: {}; raise the limit of open files (ulimit -n)", std::strerror(errno));
  return moved;
}

Pipe make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) {
    fail(ErrorCode::exhausted, "pipe: {}; raise the limit of open files (ulimit -n)", std::strerror(errno));
  }
  Descriptor read(fds[0]), write(fds[1]);
  return {above_standard_streams(std::move(read)), above_standard_streams(std::move(write))};
}

void set_non_blocking(int fd) {
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
}

[[noreturn]] void fail_to_start(const std::string& program, int error) {
  const bool exists = program.find('/') != program.npos && ::access(program.c_str(), F_OK) == 0;
  if (error == ENOENT && exists) {
    fail(ErrorCode::invalid_argument,
         "program {}: the interpreter in its first line does not exist; correct the line that starts with #!", program);
  }
  if (error == ENOENT || error == ENOTDIR) {
    fail(ErrorCode::not_found, "program {}: no such program; give its path, such as ./reward.py", program);
  }
  if (std::error_code e; error == EACCES && std::filesystem::is_directory(program, e)) {
    fail(ErrorCode::invalid_argument, "program {}: a folder, not a program; give the path of a program in it", program);
  }
  if (error == EACCES)
    fail(ErrorCode::invalid_argument, "program {}: not executable; run chmod +x {}", program, program);
  if (error == ENOEXEC) {
    fail(ErrorCode::invalid_argument,
         "program {}: not a program; begin a script with a line such as #!/usr/bin/env python3", program);
  }
  if (error == E2BIG)
    fail(ErrorCode::invalid_argument, "program {}: {}; give it fewer arguments", program, std::strerror(error));
  fail(ErrorCode::exhausted, "program {}: cannot be started: {}", program, std::strerror(error));
}

// Runs argv with the three pipe ends as its standard streams, in a process group of its own.
pid_t spawn(const std::vector<std::string>& argv, int stdin_fd, int stdout_fd, int stderr_fd) {
  std::vector<char*> arguments;
  for (const std::string& a : argv) arguments.push_back(const_cast<char*>(a.c_str()));
  arguments.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, stdin_fd, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, stdout_fd, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, stderr_fd, STDERR_FILENO);

  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  posix_spawnattr_setpgroup(&attributes, 0);
  sigset_t signals;
  sigemptyset(&signals);
  posix_spawnattr_setsigmask(&attributes, &signals);
  for (const int ignored : {SIGPIPE, SIGXFSZ}) sigaddset(&signals, ignored);  // or they would stay ignored in the child
  posix_spawnattr_setsigdefault(&attributes, &signals);

  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, arguments[0], &actions, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) fail_to_start(argv[0], error);
  return pid;
}

// write() that reports a pipe without a reader as EPIPE and swallows the SIGPIPE that comes with it, without touching
// the process's own choice about that signal: it is blocked in this thread, and taken back if this write raised it.
ssize_t write_without_signal(int fd, const char* data, std::size_t size) {
  sigset_t broken_pipe, before, pending;
  sigemptyset(&broken_pipe);
  sigaddset(&broken_pipe, SIGPIPE);
  sigpending(&pending);
  pthread_sigmask(SIG_BLOCK, &broken_pipe, &before);
  const ssize_t n = ::write(fd, data, size);
  const int error = errno;
  if (n < 0 && error == EPIPE && !sigismember(&pending, SIGPIPE)) {
    const timespec at_once = {};
    while (sigtimedwait(&broken_pipe, nullptr, &at_once) < 0 && errno == EINTR) {
    }
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = error;
  return n;
}

// Reads what is there, appending to `text`. False at the end of the stream.
bool read_available(int fd, std::string& text, const std::string& program) {
  std::array<char, 1 << 16> buffer;
  while (true) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n > 0) {
      text.append(buffer.data(), static_cast<std::size_t>(n));
      // A short read has emptied the pipe; a long one returns too, so that writing gets its turn.
      return true;
    }
    if (n == 0) return false;
    if (errno == EAGAIN) return true;
    if (errno != EINTR) fail(ErrorCode::io, "program {}: reading from it failed: {}", program, std::strerror(errno));
  }
}

int remaining_ms(ChildProcess::Deadline deadline) {
  using namespace std::chrono;
  const auto now = steady_clock::now();
  if (now >= deadline) return 0;
  return static_cast<int>(std::min<int64_t>(ceil<milliseconds>(deadline - now).count(), INT_MAX));
}

// True if the process became a zombie within `patience`; it is not reaped.
bool ends_within(pid_t pid, std::chrono::milliseconds patience) {
  const Descriptor watch(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (watch.get() < 0) return false;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (true) {
    pollfd p = {watch.get(), POLLIN, 0};
    const int n = ::poll(&p, 1, remaining_ms(deadline));
    if (n > 0) return true;
    if (n == 0 || errno != EINTR) return false;
  }
}

std::string describe_status(int status) {
  if (WIFEXITED(status)) return fmt::format("exited with code {}", WEXITSTATUS(status));
  return fmt::format("was ended by signal {} ({})", WTERMSIG(status), ::strsignal(WTERMSIG(status)));
}

}  // namespace

ChildProcess::ChildProcess(std::vector<std::string> argv) {
  require(!argv.empty() && !argv[0].empty(), "program: no program is given; name one, such as ./reward.py");
  for (const std::string& a : argv)
    require(a.find('\0') == a.npos, "program {}: an argument holds a zero byte", argv[0].c_str());
  program_ = argv[0];
  Pipe in = make_pipe(), out = make_pipe(), err = make_pipe();
  set_non_blocking(in.write.get());
  set_non_blocking(out.read.get());
  set_non_blocking(err.read.get());
  pid_ = spawn(argv, in.read.get(), out.write.get(), err.write.get());
  stdin_ = in.write.release();
  stdout_ = out.read.release();
  stderr_ = err.read.release();
}

ChildProcess::~ChildProcess() {
  if (pid_ >= 0) end_group(/*at_once=*/false);
  close_descriptor(stdout_);
  close_descriptor(stderr_);
}

void ChildProcess::write_line(std::string_view line, Deadline deadline) {
  require_one_line(line);
  queue_line(line);
  while (true) {
    require_alive();
    transfer();
    if (n_sent_ == outgoing_.size()) return;
    if (stdin_ < 0 || stdout_ < 0) fail_lost("");
    if (remaining_ms(deadline) == 0) {
      fail(ErrorCode::timeout,
           "program {}: it did not read its input before the deadline; read one line at a time, or allow more time",
           program_);
    }
    wait_ready(deadline);
  }
}

std::string ChildProcess::read_line(Deadline deadline) {
  while (!has_line()) {
    require_alive();
    transfer();
    if (has_line()) break;
    if (stdout_ < 0) fail_lost("");
    if (remaining_ms(deadline) == 0) {
      fail(ErrorCode::timeout,
           "program {}: no line before the deadline; flush stdout after each line, or allow more time{}", program_,
           last_words());
    }
    wait_ready(deadline);
  }
  return take_line();
}

std::vector<std::string> ChildProcess::exchange(std::span<const std::string> lines, Deadline deadline) {
  require_alive();
  for (const std::string& line : lines) require_one_line(line);
  const auto require_in_step = [&] {
    if (n_taken_ == incoming_.size()) return;
    stop_now();
    fail(ErrorCode::corrupt,
         "program {}: it wrote more lines than it was asked for; write exactly one line for each line read", program_);
  };
  receive();  // what is here now was written before the questions
  require_in_step();
  for (const std::string& line : lines) queue_line(line);

  std::vector<std::string> replies;
  replies.reserve(lines.size());
  while (true) {
    transfer();
    while (replies.size() < lines.size() && has_line()) replies.push_back(take_line());
    if (replies.size() == lines.size()) break;
    if (stdout_ < 0) fail_lost(fmt::format(" after {} of {} replies", replies.size(), lines.size()));
    if (remaining_ms(deadline) == 0) {
      stop_now();
      fail(ErrorCode::timeout,
           "program {}: {} of {} replies before the deadline; flush stdout after each line, or allow more time{}",
           program_, replies.size(), lines.size(), last_words());
    }
    wait_ready(deadline);
  }
  require_in_step();
  return replies;
}

std::string ChildProcess::take_line() {
  std::string line = incoming_.substr(n_taken_, newline_ - n_taken_);
  n_taken_ = newline_ + 1;
  if (n_taken_ == incoming_.size()) {
    incoming_.clear();
    n_taken_ = 0;
  }
  n_searched_ = n_taken_;
  newline_ = incoming_.find('\n', n_taken_);
  if (newline_ == std::string::npos) n_searched_ = incoming_.size();
  return line;
}

// A program that has ended may still have left whole lines; read_line hands them out first.
void ChildProcess::require_alive() const {
  if (ending_.empty()) return;
  fail(ErrorCode::peer_lost, "program {}: it has ended ({}){}; start it again", program_, ending_, last_words());
}

void ChildProcess::require_one_line(std::string_view line) const {
  require(line.find('\n') == line.npos, "program {}: a request holds a line break; send one line at a time", program_);
}

void ChildProcess::queue_line(std::string_view line) {
  outgoing_.append(line);
  outgoing_.push_back('\n');
}

void ChildProcess::transfer() {
  send();
  receive();
  receive_stderr();
}

void ChildProcess::send() {
  while (stdin_ >= 0 && n_sent_ < outgoing_.size()) {
    const ssize_t n = write_without_signal(stdin_, outgoing_.data() + n_sent_, outgoing_.size() - n_sent_);
    if (n >= 0) {
      n_sent_ += static_cast<std::size_t>(n);
    } else if (errno == EPIPE) {
      close_descriptor(stdin_);  // it reads no more; what it has written before still counts
    } else if (errno == EAGAIN) {
      return;
    } else if (errno != EINTR) {
      fail(ErrorCode::io, "program {}: writing to it failed: {}", program_, std::strerror(errno));
    }
  }
  if (n_sent_ == outgoing_.size()) {
    outgoing_.clear();
    n_sent_ = 0;
  }
}

void ChildProcess::receive() {
  if (stdout_ < 0) return;
  if (n_taken_ > incoming_.size() / 2) {
    incoming_.erase(0, n_taken_);
    if (has_line()) newline_ -= n_taken_;
    n_searched_ -= n_taken_;
    n_taken_ = 0;
  }
  if (!read_available(stdout_, incoming_, program_)) close_descriptor(stdout_);
  if (has_line()) return;
  newline_ = incoming_.find('\n', n_searched_);
  n_searched_ = has_line() ? n_taken_ : incoming_.size();
  if (!has_line() && incoming_.size() - n_taken_ > kMaxLineBytes) {
    stop_now();
    fail(ErrorCode::exhausted, "program {}: it wrote a line longer than {} bytes; write shorter lines", program_,
         kMaxLineBytes);
  }
}

void ChildProcess::receive_stderr() {
  if (stderr_ < 0) return;
  if (!read_available(stderr_, stderr_tail_, program_)) close_descriptor(stderr_);
  if (stderr_tail_.size() > kKeptStderrBytes) stderr_tail_.erase(0, stderr_tail_.size() - kKeptStderrBytes);
}

// Returns when one of the three streams can move, at the deadline, or at a signal.
void ChildProcess::wait_ready(Deadline deadline) const {
  const bool writing = n_sent_ < outgoing_.size();
  pollfd streams[] = {{writing ? stdin_ : -1, POLLOUT, 0}, {stdout_, POLLIN, 0}, {stderr_, POLLIN, 0}};
  ::poll(streams, std::size(streams), remaining_ms(deadline));
}

void ChildProcess::close_descriptor(int& fd) {
  if (fd >= 0) ::close(std::exchange(fd, -1));
}

// Ends the group and reaps its leader; returns the wait status. A process that was on its way out keeps its own exit
// code.
int ChildProcess::end_group(bool at_once) {
  close_descriptor(stdin_);
  if (!at_once) {
    ::kill(-pid_, SIGTERM);
    ends_within(pid_, kGrace);
  }
  ::kill(-pid_, SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return status;
}

// Ends the program for good. Its stderr is read once more, which empties a pipe of the usual capacity.
void ChildProcess::stop_now() {
  ending_ = describe_status(end_group(/*at_once=*/true));
  receive_stderr();
  close_descriptor(stdout_);
  close_descriptor(stderr_);
}

std::string ChildProcess::last_words() const {
  std::vector<std::string> lines;
  std::size_t end = stderr_tail_.size();
  while (end != std::string::npos && end > 0 && lines.size() < 3) {
    const std::size_t newline = stderr_tail_.rfind('\n', end - 1);
    const std::size_t begin = newline == std::string::npos ? 0 : newline + 1;
    std::string line = stderr_tail_.substr(begin, std::min(end - begin, kQuotedBytes));
    for (char& c : line) {
      if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = ' ';
    }
    if (line.find_first_not_of(' ') != line.npos) lines.insert(lines.begin(), std::move(line));
    end = newline;
  }
  return lines.empty() ? "" : fmt::format("; it said: {}", fmt::join(lines, " | "));
}

void ChildProcess::fail_lost(std::string_view progress) {
  stop_now();
  fail(ErrorCode::peer_lost, "program {}: {}{}{}; run it by hand on one line to see why", program_, ending_, progress,
       last_words());
}

}  // namespace gradus::runtime
