// Plain text of the user's own: files read as bytes, the split into training and held-out text, and the windows that a
// model is trained on and measured on. What users see of it is docs/data.md. Learning from it is pretrain.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "gradus/core/rng.h"

namespace gradus::posttrain {

// A byte, 0 to 255, or the end of a file.
using Symbol = uint16_t;
inline constexpr Symbol kEndOfFile = 256;

// Texts that do not go on from one to the next, one after the other. A file that goes on after another's end is one
// text with it.
struct TextSide {
  std::vector<Symbol> symbols;
  std::vector<size_t> ends;  // of each text, ascending; the last is symbols.size()
  int64_t bytes = 0;         // symbols that are not ends of files
  int64_t pieces = 0;
};

// The file `path`, or every file below the folder `path` in the order of their paths. Names that begin with a dot are
// passed over, and so are folders that are reached through a link. Throws not_found or io, naming the path, and
// invalid_argument when there is no file.
std::vector<std::filesystem::path> text_files(const std::filesystem::path& path);

class Text {
 public:
  // Reads text_files(path), whatever bytes they hold. Each file is cut
  // into pieces of piece_bytes(total); a piece is held out when content_hash(piece) % 16 == 0, so equal pieces are on
  // one side wherever they stand. When that leaves one side empty, the pieces with the smallest hash are held out, or
  // those with the largest are trained on.
  // Throws not_found or io, naming the path; invalid_argument for what is neither file nor folder, has more than
  // kMaxBytes, no byte at all, or only one piece or pieces that are all alike. Memory: two bytes a byte,
  // three while reading.
  explicit Text(const std::filesystem::path& path);

  static constexpr int64_t kMaxBytes = int64_t{2} << 30;

  // 8192; of less than 64 such pieces, as many times the half as it takes to have 64, but 64 at least.
  static int64_t piece_bytes(int64_t total_bytes);

  const std::filesystem::path& path() const { return path_; }
  const TextSide& training() const { return training_; }
  const TextSide& held_out() const { return held_out_; }

  // Of all bytes and where files end: equal for equal text.
  uint64_t fingerprint() const { return fingerprint_; }

  // "735 files, 8.24M bytes: 7.72M for training, 516k held out, in 63 pieces of 8192"
  std::string about() const;

 private:
  std::filesystem::path path_;
  int64_t n_files_ = 0;  // with a byte in them
  int64_t piece_bytes_ = 0;
  TextSide training_, held_out_;
  uint64_t fingerprint_ = 0;
};

// Elements [begin, begin + size) of a side.
struct Window {
  size_t begin = 0, size = 0;

  template <class T>
  std::span<const T> of(const std::vector<T>& elements) const {
    return std::span(elements).subspan(begin, size);
  }
};

// Windows of one size anywhere in texts, none across the end of a text.
class WindowDraw {
 public:
  // `ends` of the texts outlive the object. size >= 2.
  WindowDraw(std::span<const size_t> ends, int64_t size);

  int64_t n_windows() const { return first_.back(); }
  Window draw(Rng& rng) const;  // all equally likely; n_windows() >= 1

 private:
  std::span<const size_t> ends_;
  int64_t size_;
  std::vector<int64_t> first_ = {0};  // [texts + 1] number of the first window of each text
};

// Windows of up to context + 1 elements of which all but the first are predicted: together every element of a text but
// its first, each once. Texts of one element give none.
std::vector<Window> consecutive_windows(std::span<const size_t> ends, int64_t context);

}  // namespace gradus::posttrain
