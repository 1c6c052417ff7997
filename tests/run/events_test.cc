#include "gradus/run/events.h"

#include <gtest/gtest.h>

#include <cstring>

#include "errors.h"
#include "gradus/core/file.h"
#include "gradus/run/output_file.h"
#include "temp_folder.h"

namespace gradus::run {
namespace {

TEST(Crc32c, KnownAnswers) {
  const auto unmasked = [](std::string_view bytes) {
    const uint32_t rotated = masked_crc32c(bytes) - 0xa282ead8u;
    return rotated << 15 | rotated >> 17;
  };
  EXPECT_EQ(unmasked("123456789"), 0xe3069283u);            // the check value of CRC-32/ISCSI
  EXPECT_EQ(unmasked(std::string(32, '\0')), 0x8a9136aau);  // RFC 3720, B.4
  EXPECT_EQ(unmasked(std::string(32, '\xff')), 0x62a8ab43u);
}

TEST(EventFile, ScalarsReadBack) {
  const TempFolder folder;
  EventFile file(folder.path(), 1000.5);
  const std::vector<std::pair<std::string, double>> values = {{"reward", 0.25}, {"mismatch_max", 0.0}};
  file.add(3, 1001.0, "k15", values);
  const EventFileContent content = read_event_file(file.path());
  EXPECT_EQ(file.path().filename(), "events.out.tfevents.0000001000.gradus");
  EXPECT_EQ(content.file_version, "brain.Event:2");
  EXPECT_EQ(content.purge_step, std::nullopt);
  EXPECT_EQ(content.scalars, (std::vector<ScalarEvent>{{3, "k15/reward", 0.25f}, {3, "k15/mismatch_max", 0.0f}}));
}

// The bytes TensorFlow writes for the same event, so that field numbers and framing are right and not only consistent.
TEST(EventFile, BytesAreTensorFlows) {
  const TempFolder folder;
  EventFile file(folder.path(), 1.0);
  const std::vector<std::pair<std::string, double>> zero = {{"b", 0.0}};
  file.add(2, 1.0, "a", zero);
  const std::string bytes = read_file(file.path());
  const std::string first(
      "\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x1a\x0d"
      "brain.Event:2",
      24);
  const std::string second(
      "\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x10\x02\x2a\x0c\x0a\x0a\x0a\x03"
      "a/b\x15\x00\x00\x00\x00",
      25);
  ASSERT_EQ(bytes.size(), 16 + first.size() + 16 + second.size());
  EXPECT_EQ(bytes.substr(12, first.size()), first);
  EXPECT_EQ(bytes.substr(16 + first.size() + 12, second.size()), second);
}

TEST(EventFile, ResumedRunPurgesAndSortsBehind) {
  const TempFolder folder;
  const EventFile before(folder.path(), 1000.0);
  const EventFile after(folder.path(), 990.0, 41);  // the clock was set back
  EXPECT_LT(before.path(), after.path());
  EXPECT_EQ(read_event_file(after.path()).purge_step, 41);
}

TEST(EventFile, CutRecordIsLeftOutAndDamagedOneIsCorrupt) {
  const TempFolder folder;
  EventFile file(folder.path(), 1.0);
  const std::vector<std::pair<std::string, double>> values = {{"b", 1.0}};
  file.add(2, 1.0, "a", values);
  std::string bytes = read_file(file.path());
  write_file_atomically(folder / "cut", bytes.substr(0, bytes.size() - 1));
  EXPECT_TRUE(read_event_file(folder / "cut").scalars.empty());
  bytes[bytes.size() - 6] ^= 1;
  write_file_atomically(folder / "damaged", bytes);
  EXPECT_THAT(error_of([&] { read_event_file(folder / "damaged"); }), Throws(ErrorCode::corrupt, "byte 40"));
}

TEST(OutputFile, AFullDiskIsNamed) {
  OutputFile full("/dev/full", OutputFile::Mode::append);
  EXPECT_THAT(error_of([&] { full.append("x"); }), Throws(ErrorCode::io, "/dev/full: the disk is full"));
}

}  // namespace
}  // namespace gradus::run
