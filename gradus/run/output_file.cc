#include "gradus/run/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "gradus/core/error.h"

namespace gradus::run {

void OutputFile::fail_errno(std::string_view operation) const {
  const int e = errno;
  if (e == ENOSPC)
    fail(ErrorCode::io, "{} {}: the disk is full; free some space and resume the run", operation, path_.string());
  fail(ErrorCode::io, "{} {}: {}", operation, path_.string(), std::strerror(e));
}

OutputFile::OutputFile(std::filesystem::path path, Mode mode) : path_(std::move(path)) {
  const int how = mode == Mode::create ? O_EXCL : 0;
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | how, 0644);
  if (fd_ < 0) fail_errno("open");
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

OutputFile& OutputFile::operator=(OutputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  return *this;
}

OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
}

void OutputFile::append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_errno("write");
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

void OutputFile::sync() {
  if (::fsync(fd_) != 0) fail_errno("sync");
}

int64_t OutputFile::size() const {
  struct stat info {};
  if (::fstat(fd_, &info) != 0) fail_errno("stat");
  return info.st_size;
}

void OutputFile::require_size(int64_t bytes) const {
  if (size() >= bytes) return;
  fail(ErrorCode::corrupt, "{}: it holds {} bytes, but the checkpoint was taken after {}; restore it from a copy",
       path_.string(), size(), bytes);
}

void OutputFile::truncate(int64_t bytes) {
  require_size(bytes);
  if (::ftruncate(fd_, bytes) != 0) fail_errno("truncate");
  sync();
}

}  // namespace gradus::run
