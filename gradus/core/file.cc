#include "gradus/core/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "gradus/core/error.h"

namespace gradus {

namespace {

[[noreturn]] void fail_errno(std::string_view operation, const std::filesystem::path& path) {
  const int e = errno;
  const char* remedy = e == ENOSPC || e == EDQUOT ? "; free some space" : "";
  fail(e == ENOENT ? ErrorCode::not_found : ErrorCode::io, "{} {}: {}{}", operation, path.string(), std::strerror(e),
       remedy);
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

void write_all(int fd, const void* data, std::size_t size, const std::filesystem::path& path) {
  const char* p = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = ::write(fd, p, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_errno("write", path);
    p += n;
    size -= static_cast<std::size_t>(n);
  }
}

}  // namespace

std::string read_file(const std::filesystem::path& path) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) fail_errno("read", path);
  std::string out;
  char buffer[1 << 16];
  while (true) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_errno("read", path);
    if (n == 0) return out;
    out.append(buffer, static_cast<std::size_t>(n));
  }
}

void write_file_atomically(const std::filesystem::path& path, const std::function<void(const Append&)>& write) {
  std::filesystem::path beside = path;
  beside += ".tmp." + std::to_string(::getpid());
  try {
    const Descriptor fd(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (fd.get() < 0) fail_errno("write", beside);
    write([&](const void* data, std::size_t size) { write_all(fd.get(), data, size, path); });
    if (::fsync(fd.get()) != 0) fail_errno("sync", path);
    if (::rename(beside.c_str(), path.c_str()) != 0) fail_errno("rename to", path);
  } catch (...) {
    ::unlink(beside.c_str());
    throw;
  }
  sync_directory(path.has_parent_path() ? path.parent_path() : ".");
}

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  write_file_atomically(path, [&](const Append& append) { append(bytes.data(), bytes.size()); });
}

void sync_directory(const std::filesystem::path& directory) {
  const Descriptor fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0 || ::fsync(fd.get()) != 0) fail_errno("sync", directory);
}

MappedFile::MappedFile(const std::filesystem::path& path) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) fail_errno("map", path);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) fail_errno("map", path);
  if (!S_ISREG(info.st_mode)) fail(ErrorCode::io, "map {}: not a regular file", path.string());
  size_ = static_cast<std::size_t>(info.st_size);
  if (size_ == 0) return;
  address_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd.get(), 0);
  if (address_ == MAP_FAILED) {
    address_ = nullptr;
    fail_errno("map", path);
  }
#ifdef MADV_NOHUGEPAGE
  // One touched byte may else bring 2 MiB into memory. Advice: may fail.
  ::madvise(address_, size_, MADV_NOHUGEPAGE);
#endif
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : address_(std::exchange(other.address_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(address_, other.address_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (address_ != nullptr) ::munmap(address_, size_);
}

}  // namespace gradus
