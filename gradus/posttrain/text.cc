#include "gradus/posttrain/text.h"

#include <algorithm>
#include <system_error>

#include "gradus/core/error.h"
#include "gradus/core/file.h"
#include "gradus/posttrain/content_hash.h"
#include "gradus/run/progress.h"

namespace gradus::posttrain {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void unreadable(const fs::path& path, const std::error_code& error) {
  fail(ErrorCode::io, "{}: {}; give a file or a folder of text that can be read", path.string(), error.message());
}

fs::file_status status_of(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) {
    fail(ErrorCode::not_found, "{}: no such file or folder; give one with text", path.string());
  }
  if (error) unreadable(path, error);
  return status;
}

// The files below `folder`.
void collect(const fs::path& folder, std::vector<fs::path>& files) {
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  while (!error && entries != fs::directory_iterator()) {
    const fs::path& path = entries->path();
    if (!path.filename().string().starts_with('.')) {
      const bool is_link = entries->is_symlink(error);
      if (is_link && !fs::exists(path, error)) {  // a link to nothing is no text
        error.clear();
      } else if (fs::is_directory(status_of(path))) {
        if (!is_link) collect(path, files);  // links may go round in circles
      } else if (fs::is_regular_file(status_of(path))) {
        files.push_back(path);
      }
    }
    entries.increment(error);
  }
  if (error) unreadable(folder, error);
}

struct Piece {
  std::string_view bytes;
  bool begins_file = false, ends_file = false;
  uint64_t hash = 0;
};

// All files' bytes one after the other, and where each ends.
struct Bytes {
  std::string all;
  std::vector<size_t> ends;
};

Bytes read_all(const fs::path& path) {
  Bytes bytes;
  for (const fs::path& file : text_files(path)) {
    std::error_code error;
    const auto size = static_cast<int64_t>(fs::file_size(file, error));
    if (error) unreadable(file, error);
    require(static_cast<int64_t>(bytes.all.size()) + size <= Text::kMaxBytes,
            "{}: more than {} bytes of text; give a part of it", path.string(), Text::kMaxBytes);
    const std::string text = read_file(file);
    if (text.empty()) continue;
    bytes.all += text;
    bytes.ends.push_back(bytes.all.size());
  }
  require(!bytes.all.empty(), "{}: no text, not one byte; give a file or a folder with text", path.string());
  return bytes;
}

// A rest of less than half a piece stays with the piece before it.
std::vector<Piece> cut(const Bytes& bytes, size_t piece_bytes) {
  std::vector<Piece> pieces;
  size_t begin = 0;
  for (const size_t file_end : bytes.ends) {
    for (const size_t file_begin = begin; begin < file_end;) {
      const size_t rest = file_end - begin;
      const size_t size = rest < piece_bytes + piece_bytes / 2 ? rest : piece_bytes;
      const std::string_view text = std::string_view(bytes.all).substr(begin, size);
      pieces.push_back({text, begin == file_begin, size == rest, content_hash(text)});
      begin += size;
    }
  }
  return pieces;
}

std::vector<bool> held_out_of(const std::vector<Piece>& pieces, const fs::path& path) {
  const auto [smallest, largest] = std::ranges::minmax_element(pieces, {}, &Piece::hash);
  require(pieces.size() > 1, "{}: {} bytes are too little text to hold some of it out; give more text", path.string(),
          pieces.front().bytes.size());
  require(
      smallest->hash != largest->hash,
      "{}: the text only repeats itself, its {} pieces are all alike, so that none can be held out; give other text",
      path.string(), pieces.size());
  const auto is_chosen = [](const Piece& p) { return p.hash % 16 == 0; };
  const bool none = std::ranges::none_of(pieces, is_chosen), all = std::ranges::all_of(pieces, is_chosen);
  std::vector<bool> held_out;
  for (const Piece& p : pieces) {
    held_out.push_back(none ? p.hash == smallest->hash : all ? p.hash != largest->hash : is_chosen(p));
  }
  return held_out;
}

// Goes on with the side's last text when `follows`.
void append(TextSide& side, const Piece& piece, bool follows) {
  for (const char c : piece.bytes) side.symbols.push_back(static_cast<unsigned char>(c));
  if (piece.ends_file) side.symbols.push_back(kEndOfFile);
  if (follows && !side.ends.empty()) {
    side.ends.back() = side.symbols.size();
  } else {
    side.ends.push_back(side.symbols.size());
  }
  side.bytes += static_cast<int64_t>(piece.bytes.size());
  ++side.pieces;
}

// Of the pieces' hashes and the places of files among them.
uint64_t hash_of(const std::vector<Piece>& pieces) {
  std::string all;
  for (const Piece& p : pieces) {
    for (int shift = 0; shift < 64; shift += 8) all += static_cast<char>(p.hash >> shift & 0xFF);
    all += p.ends_file ? '\1' : '\0';
  }
  return content_hash(all);
}

}  // namespace

std::vector<fs::path> text_files(const fs::path& path) {
  const fs::file_status status = status_of(path);
  if (fs::is_regular_file(status)) return {path};
  require(fs::is_directory(status), "{}: neither a file nor a folder; give one with text", path.string());
  std::vector<fs::path> files;
  collect(path, files);
  require(!files.empty(), "{}: no file in this folder (names that begin with a dot are passed over)", path.string());
  std::sort(files.begin(), files.end());
  return files;
}

int64_t Text::piece_bytes(int64_t total_bytes) {
  int64_t size = 8192;
  while (size > 64 && size * 64 > total_bytes) size /= 2;
  return size;
}

Text::Text(const fs::path& path) : path_(path) {
  const Bytes bytes = read_all(path);
  n_files_ = static_cast<int64_t>(bytes.ends.size());
  piece_bytes_ = piece_bytes(static_cast<int64_t>(bytes.all.size()));
  const std::vector<Piece> pieces = cut(bytes, static_cast<size_t>(piece_bytes_));
  const std::vector<bool> held_out = held_out_of(pieces, path);
  fingerprint_ = hash_of(pieces);
  for (size_t i = 0; i < pieces.size(); ++i) {
    TextSide& side = held_out[i] ? held_out_ : training_;
    const bool after_neighbour = i > 0 && held_out[i - 1] == held_out[i];
    const bool after_an_end = pieces[i].begins_file && !side.symbols.empty() && side.symbols.back() == kEndOfFile;
    append(side, pieces[i], after_neighbour || after_an_end);
  }
}

std::string Text::about() const {
  return fmt::format(
      "{} {}, {} bytes: {} for training, {} held out, in {} {} of {}", n_files_, n_files_ == 1 ? "file" : "files",
      run::format_count(static_cast<double>(training_.bytes + held_out_.bytes)),
      run::format_count(static_cast<double>(training_.bytes)), run::format_count(static_cast<double>(held_out_.bytes)),
      held_out_.pieces, held_out_.pieces == 1 ? "piece" : "pieces", piece_bytes_);
}

WindowDraw::WindowDraw(std::span<const size_t> ends, int64_t size) : ends_(ends), size_(size) {
  size_t begin = 0;
  for (const size_t end : ends) {
    first_.push_back(first_.back() + std::max<int64_t>(0, static_cast<int64_t>(end - begin) - size + 1));
    begin = end;
  }
}

Window WindowDraw::draw(Rng& rng) const {
  const int64_t window = rng.below(n_windows());
  const auto text = static_cast<size_t>(std::upper_bound(first_.begin(), first_.end(), window) - first_.begin()) - 1;
  const size_t begin = (text == 0 ? 0 : ends_[text - 1]) + static_cast<size_t>(window - first_[text]);
  return {begin, static_cast<size_t>(size_)};
}

std::vector<Window> consecutive_windows(std::span<const size_t> ends, int64_t context) {
  std::vector<Window> windows;
  const auto most = static_cast<size_t>(context);
  size_t begin = 0;
  for (const size_t end : ends) {
    for (; begin + 1 < end; begin += most) windows.push_back({begin, std::min(most + 1, end - begin)});
    begin = end;
  }
  return windows;
}

}  // namespace gradus::posttrain
