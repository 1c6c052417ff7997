#include "gradus/comm/launched_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "gradus/core/error.h"

extern char** environ;

namespace gradus::comm {

namespace {

constexpr size_t kLongestLine = 64 << 10;  // bytes; a longer one is shown in pieces

struct Pipe {
  Descriptor read, write;
};

Pipe make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) fail(ErrorCode::exhausted, "launch: no pipe: {}", std::strerror(errno));
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

std::vector<std::string> local_environment(const Environment& e) {
  std::vector<std::string> variables;
  for (char** v = environ; *v != nullptr; ++v) {
    const std::string_view text(*v);
    if (!is_launcher_variable(text.substr(0, text.find('=')))) variables.emplace_back(text);
  }
  for (std::string& v : to_variables(e)) variables.push_back(std::move(v));
  variables.push_back("GRADUS_JOB_TOKEN=" + e.token);
  return variables;
}

// What a shell of another host runs. It reads the token, starts the program, and asks it to end when the launcher
// closes its end of stdin, or is gone.
std::string remote_command(const ProcessToStart& p) {
  std::string start = "env";
  for (const std::string& v : to_variables(p.environment)) start += ' ' + quoted_for_shell(v);
  for (const std::string& w : p.words) start += ' ' + quoted_for_shell(w);
  std::array<char, 4096> folder{};
  const bool known = ::getcwd(folder.data(), folder.size()) != nullptr;
  const std::string script = fmt::format(
      "IFS= read -r GRADUS_JOB_TOKEN; export GRADUS_JOB_TOKEN; cd {} || exit 1; exec 3<&0; {} </dev/null 3<&- & p=$!; "
      "{{ cat <&3; kill -TERM $p; }} >/dev/null 2>&1 & w=$!; exec 3<&-; wait $p; s=$?; kill $w 2>/dev/null; exit $s",
      quoted_for_shell(known ? folder.data() : "."), start);
  return "exec sh -c " + quoted_for_shell(script);
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> list;
  for (std::string& w : words) list.push_back(w.data());
  list.push_back(nullptr);
  return list;
}

// Between fork and exec: only what a signal handler may do.
struct ChildPlan {
  char* const* words;
  char* const* environment;
  int input, output;  // -1: /dev/null; as it is
  pid_t parent;
};

[[noreturn]] void become(const ChildPlan& plan, int report) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != plan.parent) ::_exit(127);  // it ended before prctl
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int s : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXFSZ}) ::signal(s, SIG_DFL);
  const int input = plan.input >= 0 ? plan.input : ::open("/dev/null", O_RDONLY);
  ::dup2(input, STDIN_FILENO);
  if (plan.output >= 0) {
    ::dup2(plan.output, STDOUT_FILENO);
    ::dup2(plan.output, STDERR_FILENO);
  }
  environ = const_cast<char**>(plan.environment);
  ::execvp(plan.words[0], plan.words);
  const int error = errno;
  [[maybe_unused]] const ssize_t n = ::write(report, &error, sizeof error);
  ::_exit(127);
}

}  // namespace

std::string quoted_for_shell(std::string_view word) {
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted += '\'';
}

LaunchedProcess::LaunchedProcess(const ProcessToStart& p) : rank_(p.environment.rank), host_(p.host) {
  std::vector<std::string> words = p.words;
  if (!host_.empty()) {
    words = p.ssh;
    words.push_back(host_);
    words.push_back(remote_command(p));
  }
  std::vector<std::string> variables = local_environment(p.environment);
  const std::vector<char*> word_list = pointers(words), variable_list = pointers(variables);
  Pipe input, output, report = make_pipe();
  if (!host_.empty()) input = make_pipe();
  if (rank_ != 0) output = make_pipe();
  const ChildPlan plan{word_list.data(), variable_list.data(), input.read.get(), output.write.get(), ::getpid()};

  pid_ = ::fork();
  if (pid_ == 0) become(plan, report.write.get());
  if (pid_ < 0) fail(ErrorCode::exhausted, "launch: the system refuses a process: {}", std::strerror(errno));
  started_as_ = pid_;
  ::setpgid(pid_, pid_);  // whichever of the two comes first
  report.write = Descriptor();
  int error = 0;
  if (::read(report.read.get(), &error, sizeof error) == sizeof error) {
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
    fail(ErrorCode::io, "launch: cannot start {}: {}", words[0], std::strerror(error));
  }
  end_ = Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  words_ = std::move(output.read);
  if (words_) ::fcntl(words_.get(), F_SETFL, O_NONBLOCK);
  if (!host_.empty()) {
    input_ = std::move(input.write);
    const std::string token = p.environment.token + '\n';
    [[maybe_unused]] const ssize_t n = ::write(input_.get(), token.data(), token.size());  // fits an empty pipe
  }
}

LaunchedProcess::~LaunchedProcess() {
  if (!running()) return;
  kill();
  ::waitpid(pid_, nullptr, 0);
}

std::string LaunchedProcess::text() const {
  if (!host_.empty()) return fmt::format("rank {} on {}", rank_, host_);
  return fmt::format("rank {} (process {})", rank_, started_as_);
}

void LaunchedProcess::reap() {
  int status = 0;
  if (!running() || ::waitpid(pid_, &status, WNOHANG | WUNTRACED | WCONTINUED) != pid_) return;
  if (WIFSTOPPED(status) || WIFCONTINUED(status)) {
    stopped_since_ = WIFSTOPPED(status) ? std::optional(std::chrono::steady_clock::now()) : std::nullopt;
    return;
  }
  stopped_since_.reset();
  pid_ = -1;
  if (WIFSIGNALED(status)) signal_ = WTERMSIG(status);
  exit_code_ = signal_ != 0 ? 128 + signal_ : WEXITSTATUS(status);
}

std::string LaunchedProcess::how_ended() const {
  if (signal_ == 0) return fmt::format("ended with exit code {}", exit_code_);
  return fmt::format("was ended by signal {} ({})", signal_, ::strsignal(signal_));
}

void LaunchedProcess::show_lines(const Show& show) {
  if (!words_) return;
  const auto say = [&](std::string_view line) {
    if (show) show(fmt::format("[rank {}] {}", rank_, line));
  };
  const auto say_rest = [&] {
    if (!unfinished_.empty()) say(unfinished_);
    unfinished_.clear();
  };
  std::array<char, 4096> buffer;
  ssize_t n = 0;
  while ((n = ::read(words_.get(), buffer.data(), buffer.size())) > 0) {
    unfinished_.append(buffer.data(), static_cast<size_t>(n));
    size_t begin = 0;
    for (size_t end; (end = unfinished_.find('\n', begin)) != std::string::npos; begin = end + 1) {
      say(std::string_view(unfinished_).substr(begin, end - begin));
    }
    unfinished_.erase(0, begin);
    if (unfinished_.size() > kLongestLine) say_rest();
  }
  const bool ended = n == 0 || (errno != EAGAIN && errno != EINTR);
  if (ended) words_ = Descriptor();
  if (ended || !running()) say_rest();
}

void LaunchedProcess::interrupt() {
  if (!running()) return;
  if (host_.empty()) {
    ::kill(-pid_, SIGINT);
  } else {
    input_ = Descriptor();
  }
}

void LaunchedProcess::kill() {
  if (running()) ::kill(-pid_, SIGKILL);
}

}  // namespace gradus::comm
