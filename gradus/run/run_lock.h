// One writer per run folder: an advisory lock on RUN/lock, held while a Run lives and freed by the system when its
// process ends, however it ends. The file says who holds it: {"pid": 123, "host": "...", "started": "..."}.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

namespace gradus::run {

// Move only.
class RunLock {
 public:
  // Takes the lock of the folder `directory` at once or throws invalid_argument: "run X is in use by process N"; io.
  //   started  UTC time for the file's text
  RunLock(const std::filesystem::path& directory, std::string_view started);
  RunLock(RunLock&& other) noexcept;
  RunLock& operator=(RunLock&& other) noexcept;
  ~RunLock();

 private:
  int fd_ = -1;
};

// The process that has the folder locked now; empty when none has. 0 when its number cannot be read.
std::optional<int64_t> lock_owner(const std::filesystem::path& directory);

// Throws what RunLock throws when a process has the folder locked now; takes nothing.
void require_unlocked(const std::filesystem::path& directory);

}  // namespace gradus::run
