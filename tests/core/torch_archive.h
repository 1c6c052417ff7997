// Torch files byte by byte, for tests of their reader: a pickle is written instruction by instruction, and an archive
// file by file, so that each can be wrong in one place.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gradus::testing {

inline std::string little(uint64_t x, size_t bytes) {
  std::string out;
  for (size_t i = 0; i < bytes; ++i, x >>= 8) out.push_back(static_cast<char>(x & 0xff));
  return out;
}

// Instructions of a pickle.
inline std::string pickled(std::string_view text) {
  return "X" + little(text.size(), 4) + std::string(text);
}
inline std::string pickled(int64_t x) {
  return std::string("\x8a\x08", 2) + little(static_cast<uint64_t>(x), 8);
}
inline std::string pickled_tuple(const std::vector<int64_t>& items) {
  std::string out = "(";
  for (const int64_t x : items) out += pickled(x);
  return out + "t";
}
inline std::string pickled_global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
inline std::string pickled_program(const std::string& instructions) {
  return std::string("\x80\x02", 2) + instructions + ".";
}

struct TensorFields {
  std::string storage_class = "FloatStorage";
  std::string key = "0";
  int64_t storage_numel = 6, offset = 0;
  std::vector<int64_t> dims = {2, 3}, strides = {3, 1};
};
inline std::string pickled_tensor(const TensorFields& t) {
  return pickled_global("torch._utils", "_rebuild_tensor_v2") + "((" + pickled("storage") +
         pickled_global("torch", t.storage_class) + pickled(t.key) + pickled("cpu") + pickled(t.storage_numel) + "tQ" +
         pickled(t.offset) + pickled_tuple(t.dims) + pickled_tuple(t.strides) + "\x89" +
         pickled_global("collections", "OrderedDict") + ")RtR";
}
inline std::string pickled_dict(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string out = "}(";
  for (const auto& [key, value] : entries) out += pickled(key) + value;
  return out + "u";
}

// A zip archive of stored files. Each number of the directory can be made wrong.
struct ArchivedFile {
  std::string name, contents;
  uint64_t method = 0, flags = 0;
  int64_t more_bytes = 0;  // that the directory says
};
inline std::string archive_of(const std::vector<ArchivedFile>& files, const std::string& comment = "",
                              bool large = false) {
  std::string out, directory;
  for (const ArchivedFile& f : files) {
    const uint64_t place = out.size(), said = f.contents.size() + static_cast<uint64_t>(f.more_bytes);
    const std::string common = little(f.flags, 2) + little(f.method, 2) + little(0, 8);  // time, date, checksum
    out += "PK\3\4" + little(20, 2) + common + little(said, 4) + little(said, 4) + little(f.name.size(), 2) +
           little(5, 2) + f.name + "FB" + little(1, 2) + "Z" + f.contents;
    const std::string sizes = large ? little(0xffffffff, 4) + little(0xffffffff, 4) : little(said, 4) + little(said, 4);
    const std::string extra = large ? little(7, 2) + little(1, 2) + "x" + little(1, 2) + little(24, 2) +
                                          little(said, 8) + little(said, 8) + little(place, 8)
                                    : "";
    directory += "PK\1\2" + little(20, 2) + little(20, 2) + common + sizes + little(f.name.size(), 2) +
                 little(extra.size(), 2) + little(0, 2) + little(0, 8) + little(large ? 0xffffffff : place, 4) +
                 f.name + extra;
  }
  const uint64_t begin = out.size(), n = files.size();
  out += directory;
  const uint64_t end = out.size();
  if (large) {
    out += "PK\6\6" + little(44, 8) + little(45, 2) + little(45, 2) + little(0, 8) + little(n, 8) + little(n, 8) +
           little(directory.size(), 8) + little(begin, 8) + "PK\6\7" + little(0, 4) + little(end, 8) + little(1, 4);
  }
  return out + "PK\5\6" + little(0, 4) + little(large ? 0xffff : n, 2) + little(large ? 0xffff : n, 2) +
         little(large ? 0xffffffff : directory.size(), 4) + little(large ? 0xffffffff : begin, 4) +
         little(comment.size(), 2) + comment;
}

}  // namespace gradus::testing
