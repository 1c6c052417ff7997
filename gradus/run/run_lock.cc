#include "gradus/run/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "gradus/core/error.h"
#include "gradus/core/file.h"
#include "gradus/core/json.h"

namespace gradus::run {

namespace {

constexpr const char* kLockFile = "lock";

// The number in the lock file, 0 while its owner has not written it yet.
int64_t written_pid(const std::filesystem::path& path) {
  const auto j = try_parse_json(read_file(path));
  return j.is_object() && j.contains("pid") && j["pid"].is_number_integer() ? j["pid"].get<int64_t>() : 0;
}

[[noreturn]] void fail_in_use(const std::filesystem::path& directory, int64_t pid) {
  fail(ErrorCode::invalid_argument, "run {} is in use by {}; wait for it or choose another --out", directory.string(),
       pid ? fmt::format("process {}", pid) : "another process");
}

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

}  // namespace

RunLock::RunLock(const std::filesystem::path& directory, std::string_view started) {
  const std::filesystem::path path = directory / kLockFile;
  const auto fail_errno = [&] {
    const int e = errno;
    if (fd_ >= 0) ::close(fd_);
    fail(ErrorCode::io, "lock {}: {}", path.string(), std::strerror(e));
  };
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) fail_errno();
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) fail_errno();
    ::close(fd_);
    fail_in_use(directory, written_pid(path));
  }
  const nlohmann::ordered_json owner = {{"pid", ::getpid()}, {"host", host_name()}, {"started", started}};
  const std::string line = write_json(owner) + '\n';
  if (::ftruncate(fd_, 0) != 0 || ::pwrite(fd_, line.data(), line.size(), 0) != static_cast<ssize_t>(line.size()))
    fail_errno();
}

RunLock::RunLock(RunLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

RunLock& RunLock::operator=(RunLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

// The file stays: deleting it could delete the one that the next owner has just locked.
RunLock::~RunLock() {
  if (fd_ >= 0) ::close(fd_);
}

std::optional<int64_t> lock_owner(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / kLockFile;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  const bool locked = ::flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  ::close(fd);
  if (!locked) return std::nullopt;
  return written_pid(path);
}

void require_unlocked(const std::filesystem::path& directory) {
  if (const auto pid = lock_owner(directory)) fail_in_use(directory, *pid);
}

}  // namespace gradus::run
