// How much memory there is, and memory that lies in a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>

namespace gradus {

// Bytes that this process may still take: what the machine has left, or its cgroup, whichever is less; a guess that
// other processes may prove wrong. INT64_MAX where the system does not say.
int64_t available_memory();

// Zeros at first, in a file of a directory that no one else sees and that is gone with the object: for more than fits
// into memory, which the system keeps what is used of. Move only.
class FileMemory {
 public:
  FileMemory() = default;
  // Throws not_found or io, naming the directory; io, too, when there is less room in it.
  FileMemory(const std::filesystem::path& directory, int64_t bytes);
  FileMemory(FileMemory&& other) noexcept;
  FileMemory& operator=(FileMemory&& other) noexcept;
  ~FileMemory();

  std::byte* data() const { return static_cast<std::byte*>(address_); }  // aligned to a page

 private:
  void* address_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace gradus
