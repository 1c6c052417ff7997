#include "gradus/core/zip.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>

#include "gradus/core/error.h"
#include "gradus/core/json.h"

namespace gradus {

namespace {

constexpr uint64_t kEndBytes = 22, kLocatorBytes = 20, kEnd64Bytes = 56, kEntryBytes = 46, kLocalBytes = 30;
constexpr uint64_t kMaxComment = 0xffff;
constexpr uint64_t kFull16 = 0xffff, kFull32 = 0xffffffff;  // "see the zip64 field"

// Numbers of the archive, little-endian, each place checked.
class Fields {
 public:
  Fields(std::span<const std::byte> bytes, std::string_view origin) : bytes_(bytes), origin_(origin) {}

  uint64_t size() const { return bytes_.size(); }

  std::span<const std::byte> part(uint64_t at, uint64_t n) const {
    if (at > size() || n > size() - at) {
      fail(ErrorCode::corrupt, "{}: truncated: {} bytes at {} are outside the {} bytes of the archive", origin_, n, at,
           size());
    }
    return bytes_.subspan(at, n);
  }

  uint64_t number(uint64_t at, uint64_t n) const {
    uint64_t x = 0;
    const auto field = part(at, n);
    for (uint64_t i = n; i-- > 0;) x = x << 8 | static_cast<uint64_t>(field[i]);
    return x;
  }
  uint64_t u16(uint64_t at) const { return number(at, 2); }
  uint64_t u32(uint64_t at) const { return number(at, 4); }
  uint64_t u64(uint64_t at) const { return number(at, 8); }

  std::string_view text(uint64_t at, uint64_t n) const {
    return {reinterpret_cast<const char*>(part(at, n).data()), n};
  }

  bool has_signature(uint64_t at, std::string_view last_two) const {
    return at <= size() && size() - at >= 4 && text(at, 2) == "PK" && text(at + 2, 2) == last_two;
  }

 private:
  std::span<const std::byte> bytes_;
  std::string_view origin_;
};

struct Directory {
  uint64_t begin, bytes, entries;
};

// 4.3.16: the end of the directory, before a comment that reaches to the end of the archive.
uint64_t find_end(const Fields& f, std::string_view origin) {
  const uint64_t last = f.size() < kEndBytes ? 0 : f.size() - kEndBytes;
  for (uint64_t back = 0; f.size() >= kEndBytes && back <= std::min(last, kMaxComment); ++back) {
    const uint64_t at = last - back;
    if (f.has_signature(at, "\5\6") && f.u16(at + 20) == back) return at;
  }
  fail(ErrorCode::corrupt, "{}: no directory of a zip archive is at its end; the file is truncated or none", origin);
}

Directory find_directory(const Fields& f, std::string_view origin) {
  const uint64_t end = find_end(f, origin);
  Directory d{.begin = f.u32(end + 16), .bytes = f.u32(end + 12), .entries = f.u16(end + 10)};
  uint64_t disks = f.u16(end + 4) | f.u16(end + 6);
  if (d.begin == kFull32 || d.bytes == kFull32 || d.entries == kFull16) {  // 4.3.14, 4.3.15
    if (end < kLocatorBytes || !f.has_signature(end - kLocatorBytes, "\6\7"))
      fail(ErrorCode::corrupt, "{}: the zip archive's large directory is missing", origin);
    const uint64_t end64 = f.u64(end - kLocatorBytes + 8);
    f.part(end64, kEnd64Bytes);
    if (!f.has_signature(end64, "\6\6"))
      fail(ErrorCode::corrupt, "{}: no large directory of a zip archive is at {}", origin, end64);
    disks = f.u32(end64 + 16) | f.u32(end64 + 20);
    d = {.begin = f.u64(end64 + 48), .bytes = f.u64(end64 + 40), .entries = f.u64(end64 + 32)};
  }
  if (disks != 0) fail(ErrorCode::unsupported, "unsupported: {} is a zip archive on more than one disk", origin);
  f.part(d.begin, d.bytes);
  if (d.entries > d.bytes / kEntryBytes) {
    fail(ErrorCode::corrupt, "{}: a directory of {} bytes cannot have {} files", origin, d.bytes, d.entries);
  }
  return d;
}

// 4.5.3: the value of a full field is the next number of the extra field 1.
class LargeFields {
 public:
  LargeFields(const Fields& f, uint64_t begin, uint64_t bytes) : f_(f) {
    for (uint64_t at = begin; at + 4 <= begin + bytes;) {
      const uint64_t id = f.u16(at), n = f.u16(at + 2);
      if (id == 1) {
        at_ = at + 4;
        end_ = std::min(at + 4 + n, begin + bytes);
        return;
      }
      at += 4 + n;
    }
  }

  std::optional<uint64_t> value(uint64_t field) {
    if (field != kFull32) return field;
    if (at_ + 8 > end_) return std::nullopt;
    at_ += 8;
    return f_.u64(at_ - 8);
  }

 private:
  const Fields& f_;
  uint64_t at_ = 0, end_ = 0;
};

}  // namespace

std::vector<StoredFile> read_zip(std::span<const std::byte> archive, std::string_view origin) {
  const Fields f(archive, origin);
  const Directory directory = find_directory(f, origin);
  std::vector<StoredFile> files;
  std::set<std::string_view> names;
  uint64_t at = directory.begin, total = 0;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    f.part(at, kEntryBytes);
    if (!f.has_signature(at, "\1\2")) fail(ErrorCode::corrupt, "{}: file {} of the archive has no entry", origin, i);
    const uint64_t flags = f.u16(at + 8), method = f.u16(at + 10);
    const uint64_t name_bytes = f.u16(at + 28), extra_bytes = f.u16(at + 30), comment_bytes = f.u16(at + 32);
    const std::string_view name = f.text(at + kEntryBytes, name_bytes);
    f.part(at + kEntryBytes + name_bytes, extra_bytes);
    LargeFields large(f, at + kEntryBytes + name_bytes, extra_bytes);
    const auto plain = large.value(f.u32(at + 24)), packed = large.value(f.u32(at + 20));
    const auto local = large.value(f.u32(at + 42));
    if (!plain || !packed || !local)
      fail(ErrorCode::corrupt, "{}: the size or place of {} is missing", origin, quote_text(name));
    if (method != 0 || (flags & 1) != 0) {
      fail(ErrorCode::unsupported, "unsupported: {} has {} {}, but torch stores its files as they are", origin,
           quote_text(name), method != 0 ? "compressed" : "encrypted");
    }
    if (!names.insert(name).second) fail(ErrorCode::corrupt, "{}: two files are named {}", origin, quote_text(name));

    // 4.3.7: the file's own header, which may have another extra field than the directory.
    f.part(*local, kLocalBytes);
    const uint64_t own_name = f.u16(*local + 26), begin = *local + kLocalBytes + own_name + f.u16(*local + 28);
    if (!f.has_signature(*local, "\3\4") || f.text(*local + kLocalBytes, own_name) != name) {
      fail(ErrorCode::corrupt, "{}: {} is not at {}, where the directory has it", origin, quote_text(name), *local);
    }
    if (*plain != *packed)
      fail(ErrorCode::corrupt, "{}: {} is stored, but has {} bytes of {}", origin, quote_text(name), *packed, *plain);
    files.push_back({name, f.part(begin, *plain)});
    total += *plain;  // no overflow: each is at most the archive's size, and entries are few
    if (total > f.size()) {
      fail(ErrorCode::corrupt, "{}: its files have more bytes together than the {} of the archive", origin, f.size());
    }
    at += kEntryBytes + name_bytes + extra_bytes + comment_bytes;
  }
  return files;
}

}  // namespace gradus
