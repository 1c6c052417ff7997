#include "gradus/runtime/inspect.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>

#include "gradus/core/error.h"
#include "gradus/core/file.h"
#include "gradus/core/json.h"

namespace gradus::runtime {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMainThread = "main/0";
constexpr std::string_view kProgram = "gradus";

fs::path process_folder(pid_t pid) {
  return fs::path("/proc") / std::to_string(pid);
}

// A file of /proc, or nothing if its process or thread has ended.
std::optional<std::string> read_live(const fs::path& path) {
  try {
    return read_file(path);
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::string first_line(std::string text) {
  text.resize(std::min(text.size(), text.find('\n')));
  return text;
}

std::string state_word(char letter) {
  switch (letter) {
    case 'R':
      return "running";
    case 'S':
      return "sleeping";
    case 'D':
      return "disk";
    case 'T':
      return "stopped";
    case 't':
      return "traced";
    case 'Z':
      return "zombie";
    case 'X':
      return "dead";
    case 'I':
      return "idle";
  }
  return std::string(1, letter);
}

// The word before '/' where a number follows. A thread that was never named bears the name of its creator, so that
// "main/0" is a role for the main thread only.
std::string role_of(std::string_view name, bool is_main) {
  const std::size_t slash = name.find('/');
  const bool named = slash != name.npos && slash > 0 && slash + 1 < name.size() &&
                     name.find_first_not_of("0123456789", slash + 1) == name.npos;
  if (!named || (name == kMainThread && !is_main)) return "other";
  return std::string(name.substr(0, slash));
}

// proc(5), /proc/pid/task/tid/stat: (1) id (2) (name) (3) state ... (14) utime (15) stime. The name may hold spaces and
// ')'.
std::optional<ThreadInfo> parse_stat(const std::string& stat, pid_t pid) {
  const std::size_t open = stat.find('('), close = stat.rfind(')');
  if (open == stat.npos || close == stat.npos || close < open) return std::nullopt;
  ThreadInfo thread;
  thread.id = static_cast<pid_t>(std::strtol(stat.c_str(), nullptr, 10));
  thread.name = stat.substr(open + 1, close - open - 1);
  thread.role = role_of(thread.name, thread.id == pid);

  std::istringstream fields(stat.substr(close + 1));
  char state = '?';
  fields >> state;
  std::string skipped;
  for (int field = 4; field < 14; ++field) fields >> skipped;
  int64_t user_ticks = 0, system_ticks = 0;
  if (!(fields >> user_ticks >> system_ticks)) return std::nullopt;
  thread.state = state_word(state);
  thread.cpu_time_ms = (user_ticks + system_ticks) * 1000 / ::sysconf(_SC_CLK_TCK);
  return thread;
}

// The process that a thread belongs to: "Tgid:" in /proc/pid/status.
pid_t process_of(const std::string& status) {
  const std::size_t at = status.find("\nTgid:");
  return at == status.npos ? 0 : static_cast<pid_t>(std::strtol(status.c_str() + at + 6, nullptr, 10));
}

bool is_gradus(pid_t pid) {
  if (first_line(read_live(process_folder(pid) / "comm").value_or("")) == kMainThread) return true;
  std::error_code unreadable;  // another user's process, or one that has ended
  return fs::read_symlink(process_folder(pid) / "exe", unreadable).filename() == kProgram;
}

// True if the process has this very file open: a lock left behind by a process that was killed names an id that another
// one may bear by now. Asked of /proc and not with flock, which could keep a starting run out. True where /proc does
// not say.
bool has_open(pid_t pid, const fs::path& file) {
  std::error_code unreadable;  // another user's process
  for (fs::directory_iterator i(process_folder(pid) / "fd", unreadable), end; !unreadable && i != end;
       i.increment(unreadable)) {
    std::error_code closed;
    if (fs::equivalent(i->path(), file, closed)) return true;
  }
  return static_cast<bool>(unreadable);
}

[[noreturn]] void fail_not_running(const fs::path& run_dir) {
  fail(ErrorCode::not_found, "run {}: it is not running; `gradus resume {}` continues it", run_dir.string(),
       run_dir.string());
}

std::string host_name() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  return name;
}

}  // namespace

std::vector<ThreadInfo> list_threads(pid_t pid) {
  require(pid > 0, "process {}: a process id is 1 or more", pid);
  if (std::error_code e; !fs::exists("/proc/self/task", e))
    fail(ErrorCode::io, "process {}: /proc is not mounted here; threads can be listed on Linux only", pid);
  const std::optional<std::string> status = read_live(process_folder(pid) / "status");
  if (!status)
    fail(ErrorCode::not_found,
         "process {}: no such process; `pgrep -x main/0` lists those of Gradus, and a run folder does as well", pid);
  const pid_t process = process_of(*status);
  require(process == pid, "process {}: this is one thread of process {}; give that number", pid, process);
  require(is_gradus(pid),
          "process {}: its name is '{}', it is not a Gradus process; give the id of one, or a run folder", pid,
          first_line(read_live(process_folder(pid) / "comm").value_or("?")));

  std::vector<ThreadInfo> threads;
  std::error_code ended;
  for (fs::directory_iterator i(process_folder(pid) / "task", ended), end; !ended && i != end; i.increment(ended)) {
    const std::optional<std::string> stat = read_live(i->path() / "stat");
    if (!stat) continue;
    if (std::optional<ThreadInfo> thread = parse_stat(*stat, pid)) threads.push_back(std::move(*thread));
  }
  if (threads.empty()) fail(ErrorCode::not_found, "process {}: it has just ended", pid);
  std::sort(threads.begin(), threads.end(), [pid](const ThreadInfo& a, const ThreadInfo& b) {
    return std::pair(a.id != pid, a.id) < std::pair(b.id != pid, b.id);
  });
  return threads;
}

std::optional<ProcessInfo> find_process(pid_t pid) {
  const std::optional<std::string> stat = read_live(process_folder(pid) / "stat");
  const std::optional<std::string> statm = read_live(process_folder(pid) / "statm");
  if (!stat || !statm) return std::nullopt;
  ProcessInfo process;
  std::istringstream fields(stat->substr(stat->rfind(')') + 1));
  char state = '?';
  fields >> state >> process.parent;
  process.state = state_word(state);
  int64_t pages = 0, resident_pages = 0;
  std::istringstream(*statm) >> pages >> resident_pages;
  process.resident_bytes = resident_pages * ::sysconf(_SC_PAGESIZE);
  process.is_gradus = is_gradus(pid);
  return process;
}

pid_t pid_of_run(const fs::path& run_dir) {
  std::error_code ignored;
  if (!fs::is_directory(run_dir, ignored)) {
    fail(ErrorCode::not_found, "run {}: no such folder; give a run folder or a process id", run_dir.string());
  }
  const fs::path lock = run_dir / "lock";
  if (!fs::exists(lock, ignored)) fail_not_running(run_dir);
  const std::string line = first_line(read_file(lock));
  if (line.empty()) fail_not_running(run_dir);

  const nlohmann::json owner = try_parse_json(line);
  const auto pid = owner.is_object() ? owner.find("pid") : owner.end();
  if (!owner.is_object() || pid == owner.end() || !pid->is_number_integer()) {
    fail(ErrorCode::corrupt, "run {}: its lock file does not hold {{\"pid\": N, ...}}; give the process id instead",
         run_dir.string());
  }
  const auto host = owner.find("host");
  if (host != owner.end() && host->is_string() && host->get<std::string>() != host_name()) {
    fail(ErrorCode::unsupported, "run {}: it runs on host {} but this is {}; inspect it there", run_dir.string(),
         host->get<std::string>(), host_name());
  }
  const int64_t id = pid->get<int64_t>();
  if (id <= 0 || id > INT32_MAX || !is_gradus(static_cast<pid_t>(id)) || !has_open(static_cast<pid_t>(id), lock)) {
    fail_not_running(run_dir);
  }
  return static_cast<pid_t>(id);
}

}  // namespace gradus::runtime
