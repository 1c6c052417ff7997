// An append-only file of a running run. For files that must appear as a whole, see write_file_atomically.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace gradus::run {

// Owns one descriptor. Everything throws io, naming the file and a full disk.
class OutputFile {
 public:
  // create: a new file, an existing one is an error. append: an existing or new file, written at its end.
  enum class Mode { create, append };
  OutputFile(std::filesystem::path path, Mode mode);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&& other) noexcept;
  ~OutputFile();

  void append(std::string_view bytes);     // handed to the system; a killed process loses none of it
  void sync();                             // survives a power cut
  int64_t size() const;                    // bytes
  void require_size(int64_t bytes) const;  // throws corrupt when it is shorter
  // Cuts the file to `bytes`, synced; require_size first.
  void truncate(int64_t bytes);

  const std::filesystem::path& path() const { return path_; }

 private:
  [[noreturn]] void fail_errno(std::string_view operation) const;

  std::filesystem::path path_;
  int fd_ = -1;
};

}  // namespace gradus::run
