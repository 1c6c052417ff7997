// TensorBoard event files, scalars only. A file is a sequence of records: u64 length, u32 masked crc32c of the length,
// the bytes of an Event message, u32 masked crc32c of those bytes; all little-endian
// (tensorflow/core/lib/io/record_writer.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gradus/run/output_file.h"

namespace gradus::run {

// Castagnoli's CRC-32 of `bytes`, rotated right by 15 bits plus 0xa282ead8 (tensorflow/core/lib/hash/crc32c.h, Mask).
uint32_t masked_crc32c(std::string_view bytes);

// Not thread safe. Everything throws io.
class EventFile {
 public:
  // Begins DIRECTORY/events.out.tfevents.TIME.gradus, TIME moved on where needed: TensorBoard reads files in the order
  // of their names.
  //   wall_time_s  seconds since 1970
  //   purge_step   TensorBoard forgets what earlier files say about this step and later ones; for a resumed run
  EventFile(const std::filesystem::path& directory, double wall_time_s, std::optional<int64_t> purge_step = {});

  // One point in each named curve, PHASE/NAME.
  void add(int64_t step, double wall_time_s, std::string_view phase,
           std::span<const std::pair<std::string, double>> values);

  const std::filesystem::path& path() const { return file_.path(); }

 private:
  void append_record(const std::string& message);

  OutputFile file_;
};

struct ScalarEvent {
  int64_t step = 0;
  std::string tag;
  float value = 0;
  bool operator==(const ScalarEvent&) const = default;
};

struct EventFileContent {
  std::string file_version;
  std::optional<int64_t> purge_step;
  std::vector<ScalarEvent> scalars;
};

// Reads a file that EventFile wrote. A last record cut short (a killed writer) is left out; a wrong checksum throws
// corrupt.
EventFileContent read_event_file(const std::filesystem::path& path);

}  // namespace gradus::run
