#include "gradus/core/memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>
#include <utility>

#include "gradus/core/error.h"

namespace gradus {

namespace {

constexpr int64_t kUnknown = std::numeric_limits<int64_t>::max();

int64_t machine_memory() {
  std::ifstream file("/proc/meminfo");
  std::string key, unit;
  for (int64_t kib = 0; file >> key >> kib;) {
    if (key == "MemAvailable:") return kib * 1024;
    std::getline(file, unit);
  }
  return kUnknown;
}

int64_t cgroup_memory() {
  const auto number = [](const char* path) {
    std::ifstream file(path);
    int64_t n = 0;
    return file >> n ? n : kUnknown;  // no such file, or "max"
  };
  const int64_t most = number("/sys/fs/cgroup/memory.max"), now = number("/sys/fs/cgroup/memory.current");
  return most == kUnknown || now == kUnknown ? kUnknown : std::max<int64_t>(0, most - now);
}

}  // namespace

int64_t available_memory() {
  return std::min(machine_memory(), cgroup_memory());
}

FileMemory::FileMemory(const std::filesystem::path& directory, int64_t bytes) : size_(static_cast<size_t>(bytes)) {
  const auto check = [&](int error, const char* operation) {
    if (error == 0) return;
    fail(error == ENOENT ? ErrorCode::not_found : ErrorCode::io, "{} {}: {} bytes: {}", operation, directory.string(),
         bytes, std::strerror(error));
  };
  std::string path = (directory / "memory-XXXXXX").string();
  const int fd = ::mkostemp(path.data(), O_CLOEXEC);
  check(fd >= 0 ? 0 : errno, "create a file in");
  ::unlink(path.c_str());  // from here on it lives as long as its mapping
  int error = ::posix_fallocate(fd, 0, bytes);
  if (error == 0) {
    address_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (address_ == MAP_FAILED) {
      error = errno;
      address_ = nullptr;
    }
  }
  ::close(fd);
  check(error, "map a file in");
}

FileMemory::FileMemory(FileMemory&& other) noexcept
    : address_(std::exchange(other.address_, nullptr)), size_(std::exchange(other.size_, 0)) {}

FileMemory& FileMemory::operator=(FileMemory&& other) noexcept {
  std::swap(address_, other.address_);
  std::swap(size_, other.size_);
  return *this;
}

FileMemory::~FileMemory() {
  if (address_ != nullptr) ::munmap(address_, size_);
}

}  // namespace gradus
