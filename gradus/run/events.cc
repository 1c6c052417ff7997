#include "gradus/run/events.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>

#include "gradus/core/error.h"
#include "gradus/core/file.h"
#include "gradus/run/events.pb.h"

namespace gradus::run {

static_assert(std::endian::native == std::endian::little, "records are little-endian and copied as they are");

namespace {

constexpr std::string_view kPrefix = "events.out.tfevents.";
constexpr std::string_view kSuffix = ".gradus";

constexpr std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit)
      crc = (crc >> 1) ^ ((crc & 1) ? 0x82f63b78u : 0u);  // Castagnoli's polynomial, reflected
    table[i] = crc;
  }
  return table;
}

template <class T>
std::string_view bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

// The seconds in the name of the newest event file, 0 when there is none.
int64_t newest_name(const std::filesystem::path& directory) {
  int64_t newest = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kPrefix)) continue;
    int64_t seconds = 0;
    std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), seconds);
    newest = std::max(newest, seconds);
  }
  return newest;
}

std::filesystem::path next_path(const std::filesystem::path& directory, double wall_time_s) {
  const int64_t seconds = std::max(static_cast<int64_t>(wall_time_s), newest_name(directory) + 1);
  return directory / fmt::format("{}{:010d}{}", kPrefix, seconds, kSuffix);
}

template <class T>
T take(std::string_view& bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  bytes.remove_prefix(sizeof value);
  return value;
}

}  // namespace

uint32_t masked_crc32c(std::string_view bytes) {
  static constexpr std::array<uint32_t, 256> kTable = crc_table();
  uint32_t crc = ~0u;
  for (const char c : bytes) crc = (crc >> 8) ^ kTable[(crc ^ static_cast<unsigned char>(c)) & 0xff];
  return std::rotr(~crc, 15) + 0xa282ead8u;
}

EventFile::EventFile(const std::filesystem::path& directory, double wall_time_s, std::optional<int64_t> purge_step)
    : file_(next_path(directory, wall_time_s), OutputFile::Mode::create) {
  tensorboard::Event event;
  event.set_wall_time(wall_time_s);
  event.set_file_version("brain.Event:2");
  append_record(event.SerializeAsString());
  if (!purge_step) return;
  event.set_step(*purge_step);
  event.mutable_session_log()->set_status(tensorboard::SessionLog::START);
  append_record(event.SerializeAsString());
}

void EventFile::add(int64_t step, double wall_time_s, std::string_view phase,
                    std::span<const std::pair<std::string, double>> values) {
  tensorboard::Event event;
  event.set_wall_time(wall_time_s);
  event.set_step(step);
  for (const auto& [name, value] : values) {
    auto* point = event.mutable_summary()->add_value();
    point->set_tag(fmt::format("{}/{}", phase, name));
    point->set_simple_value(static_cast<float>(value));
  }
  append_record(event.SerializeAsString());
}

void EventFile::append_record(const std::string& message) {
  const uint64_t length = message.size();
  std::string record;
  record += bytes_of(length);
  record += bytes_of(masked_crc32c(bytes_of(length)));
  record += message;
  record += bytes_of(masked_crc32c(message));
  file_.append(record);
}

EventFileContent read_event_file(const std::filesystem::path& path) {
  constexpr size_t kHeader = sizeof(uint64_t) + sizeof(uint32_t), kFooter = sizeof(uint32_t);
  const std::string content = read_file(path);
  std::string_view rest = content;
  EventFileContent out;
  while (rest.size() >= kHeader) {
    const size_t offset = content.size() - rest.size();
    const auto check = [&](bool ok) {
      if (!ok)
        fail(ErrorCode::corrupt, "event file {}: the record at byte {} has a wrong checksum or message", path.string(),
             offset);
    };
    const auto length = take<uint64_t>(rest);
    check(take<uint32_t>(rest) == masked_crc32c(bytes_of(length)));
    if (rest.size() < kFooter || rest.size() - kFooter < length) break;
    const std::string_view message = rest.substr(0, length);
    rest.remove_prefix(length);
    tensorboard::Event event;
    check(take<uint32_t>(rest) == masked_crc32c(message) &&
          event.ParseFromArray(message.data(), static_cast<int>(message.size())));
    if (!event.file_version().empty()) out.file_version = event.file_version();
    if (event.has_session_log()) out.purge_step = event.step();
    for (const auto& v : event.summary().value()) out.scalars.push_back({event.step(), v.tag(), v.simple_value()});
  }
  return out;
}

}  // namespace gradus::run
