#include "program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <stdexcept>
#include <utility>

namespace gradus::cli {

namespace {

constexpr int kPatienceMs = 300'000;

struct Pipe {
  int read = -1, write = -1;
};

Pipe make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  return {ends[0], ends[1]};
}

// An xterm's two ends, which its user reads and the program writes.
Pipe make_terminal() {
  const int user = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (user < 0 || ::grantpt(user) != 0 || ::unlockpt(user) != 0) throw std::runtime_error("terminal");
  const int program = ::open(::ptsname(user), O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (program < 0) throw std::runtime_error("terminal");
  return {user, program};
}

void close_end(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

}  // namespace

Program::Program(const Words& words, const Limits& limits) {
  std::vector<char*> arguments = {const_cast<char*>(GRADUS_CLI)};
  for (const std::string& w : words) arguments.push_back(const_cast<char*>(w.c_str()));
  arguments.push_back(nullptr);
  const Pipe out = limits.terminal ? make_terminal() : make_pipe(), err = make_pipe();
  if (!limits.terminal) ::fcntl(out.write, F_SETPIPE_SZ, 4096);
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("fork");
  if (pid_ == 0) {
    for (const int s : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) ::signal(s, SIG_DFL);
    if (limits.file_bytes > 0) {
      const rlimit limit{static_cast<rlim_t>(limits.file_bytes), static_cast<rlim_t>(limits.file_bytes)};
      ::setrlimit(RLIMIT_FSIZE, &limit);
    }
    if (limits.terminal) ::setenv("TERM", "xterm", 1);
    ::dup2(out.write, STDOUT_FILENO);
    ::dup2(err.write, STDERR_FILENO);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }
  ::close(out.write);
  ::close(err.write);
  out_ = out.read;
  err_ = err.read;
}

Program::~Program() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  close_end(out_);
  close_end(err_);
}

bool Program::read_some() {
  std::array<pollfd, 2> fds = {pollfd{out_, POLLIN, 0}, pollfd{err_, POLLIN, 0}};  // poll skips a negative one
  if (out_ < 0 && err_ < 0) return false;
  const int n = ::poll(fds.data(), fds.size(), kPatienceMs);
  if (n < 0 && errno == EINTR) return true;
  if (n <= 0) throw std::runtime_error("no output for minutes; " + what_was_seen());
  const auto take = [](int& fd, short events, std::string& text) {
    if (fd < 0 || events == 0) return;
    std::array<char, 4096> buffer;
    const ssize_t size = ::read(fd, buffer.data(), buffer.size());
    if (size > 0) text.append(buffer.data(), static_cast<size_t>(size));
    if (size == 0 || (size < 0 && errno == EIO)) close_end(fd);  // EIO: a terminal that no program has any more
  };
  take(out_, fds[0].revents, all_.out);
  take(err_, fds[1].revents, all_.err);
  return true;
}

std::string Program::read_until(const std::function<bool(std::string_view)>& wanted) {
  while (true) {
    for (size_t end; (end = all_.out.find('\n', line_begin_)) != std::string::npos;) {
      const std::string line = all_.out.substr(line_begin_, end - line_begin_);
      line_begin_ = end + 1;
      if (wanted(line)) return line;
    }
    if (!read_some()) throw std::runtime_error("the output ended without the wanted line; " + what_was_seen());
  }
}

std::string Program::read_until(std::string_view part) {
  return read_until([&](std::string_view line) { return line.find(part) != line.npos; });
}

std::string Program::what_was_seen() const {
  constexpr size_t kShown = 500;
  return "stdout ends in: " + all_.out.substr(all_.out.size() - std::min(all_.out.size(), kShown)) +
         "\nstderr: " + all_.err;
}

void Program::send(int signal_number) {
  ::kill(pid_, signal_number);
}

void Program::close_stdout() {
  close_end(out_);
}

Outcome Program::wait() {
  while (read_some()) {
  }
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  all_.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return all_;
}

Outcome run_program(const Words& words, const Limits& limits) {
  return Program(words, limits).wait();
}

}  // namespace gradus::cli
