// Files that are never half written: write beside, fsync, rename. Read whole files and map large ones.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace gradus {

// The file's bytes. Throws not_found or io, naming the path.
std::string read_file(const std::filesystem::path& path);

// Replaces `path` as a whole: a reader sees the old bytes or the new ones. Throws io (disk full, no permission); then
// the old file stands.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

// The same, with the bytes written in pieces through `append(data, size)`.
using Append = std::function<void(const void* data, std::size_t size)>;
void write_file_atomically(const std::filesystem::path& path, const std::function<void(const Append&)>& write);

// Flushes a directory's entries to disk, so that a rename in it survives a power cut.
void sync_directory(const std::filesystem::path& directory);

// A mapping of a whole file. What is written into it is this process's own: the system copies the page and the file
// stays as it is. Pages that were not written to are the file's: who truncates it while it is mapped ends the process;
// replacing it (write_file_atomically) is safe. Move only.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);  // throws not_found or io
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(address_), size_}; }
  std::span<std::byte> writable() { return {static_cast<std::byte*>(address_), size_}; }

 private:
  void* address_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace gradus
