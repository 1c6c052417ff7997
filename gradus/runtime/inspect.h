// A running Gradus process seen from outside, through /proc alone: nothing in it has to answer, so a stopped or hung
// one shows too.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace gradus::runtime {

struct ThreadInfo {
  pid_t id = 0;
  std::string name;         // as the system keeps it, at most 15 characters
  std::string role;         // "pool" of "pool/3"; "other" for a thread that a library started and did not name so
  std::string state;        // running, sleeping, disk, stopped, traced, zombie, dead, idle
  int64_t cpu_time_ms = 0;  // user and system time, in the system's ticks (10 ms on most)
};

// The live threads of a process, main thread first, then by id. Threads that end meanwhile are left out.
// Throws not_found if there is no such process, invalid_argument if it is not a Gradus process or the id is that of one
// thread, io if /proc is not there.
std::vector<ThreadInfo> list_threads(pid_t pid);

struct ProcessInfo {
  std::string state;  // of its main thread, as above
  pid_t parent = 0;
  int64_t resident_bytes = 0;
  bool is_gradus = false;
};

// Nothing when there is no such process.
std::optional<ProcessInfo> find_process(pid_t pid);

// The process that works in a run folder, from the one JSON line {"pid": N, "host": "...", "started": "..."} in
// RUN/lock. Throws not_found if the folder does not exist or no process works in it, unsupported if that process is on
// another host, corrupt if the lock file cannot be understood.
pid_t pid_of_run(const std::filesystem::path& run_dir);

}  // namespace gradus::runtime
