#include "gradus/core/zip.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/core/expect_error.h"
#include "tests/core/torch_archive.h"

namespace gradus {
namespace {

using testing::archive_of;
using testing::little;

std::vector<StoredFile> read(const std::string& archive) {
  return read_zip(std::as_bytes(std::span(archive)), "weights.pt");
}

std::string text(const StoredFile& f) {
  return {reinterpret_cast<const char*>(f.bytes.data()), f.bytes.size()};
}

TEST(Zip, GivesTheFilesOfSmallAndLargeArchivesAsTheyAre) {
  for (const bool large : {false, true}) {
    const std::string archive = archive_of({{"a/data.pkl", "first"}, {"a/data/0", ""}, {"b", "third"}}, "", large);
    const std::vector<StoredFile> files = read(archive);
    ASSERT_EQ(files.size(), 3u);
    EXPECT_EQ(files[0].name, "a/data.pkl");
    EXPECT_EQ(text(files[0]), "first");
    EXPECT_EQ(text(files[1]), "");
    EXPECT_EQ(text(files[2]), "third");
  }
  EXPECT_TRUE(read(archive_of({})).empty());
}

TEST(Zip, ACommentThatLooksLikeAnEndIsNone) {
  const std::string archive = archive_of({{"a", "x"}}, "PK\5\6 and much more text than an end has");
  ASSERT_EQ(read(archive).size(), 1u);
}

TEST(Zip, WhatTorchDoesNotWriteIsRefusedByName) {
  EXPECT_GRADUS_ERROR(read(archive_of({{"a", "x", 8}})), unsupported, "\"a\" compressed");
  EXPECT_GRADUS_ERROR(read(archive_of({{"a", "x", 0, 1}})), unsupported, "\"a\" encrypted");
  std::string disks = archive_of({{"a", "x"}});
  disks[disks.size() - 18] = 1;
  EXPECT_GRADUS_ERROR(read(disks), unsupported, "more than one disk");
}

TEST(Zip, DirectoriesThatDisagreeWithTheArchiveAreCorrupt) {
  EXPECT_GRADUS_ERROR(read(""), corrupt, "no directory");
  EXPECT_GRADUS_ERROR(read("PK\3\4 but nothing after it that ends an archive"), corrupt, "no directory");
  EXPECT_GRADUS_ERROR(read(archive_of({{"a", "x"}, {"a", "y"}})), corrupt, "two files are named \"a\"");
  EXPECT_GRADUS_ERROR(read(archive_of({{"a", "x", 0, 0, 1000}})), corrupt, "outside");
  EXPECT_GRADUS_ERROR(read(archive_of({{"a", "x", 0, 0, -3}})), corrupt, "outside");

  const std::string good = archive_of({{"a", "some text"}});
  const auto changed = [&](size_t from_end, const std::string& bytes) {
    std::string archive = good;
    archive.replace(archive.size() - from_end, bytes.size(), bytes);
    return archive;
  };
  EXPECT_GRADUS_ERROR(read(changed(12, little(2, 2))), corrupt, "cannot have 2 files");
  EXPECT_GRADUS_ERROR(read(changed(10, little(1 << 20, 4))), corrupt, "outside");  // the directory's bytes
  EXPECT_GRADUS_ERROR(read(changed(6, little(1, 4))), corrupt, "no entry");        // the directory's place
  EXPECT_GRADUS_ERROR(read(changed(22 + 1 + 4, little(3, 4))), corrupt, "is not at 3");
  EXPECT_GRADUS_ERROR(read(changed(22 + 1 + 4, little(0xffffffff, 4))), corrupt, "size or place of \"a\" is missing");
  EXPECT_GRADUS_ERROR(read(changed(6, little(0xffffffff, 4))), corrupt, "large directory is missing");
}

// One range of bytes under many names would let a small archive ask for any amount of memory.
TEST(Zip, FilesInsideOthersAreCorrupt) {
  const size_t n = 1000, header = 36, entry = 47;
  const std::string inner = archive_of({{"b", std::string(n, 'x')}}).substr(0, header + n);
  std::string archive = archive_of({{"a", inner}, {"b", ""}});
  const size_t second = archive.size() - 22 - entry;
  archive.replace(second + 20, 8, little(n, 4) + little(n, 4));  // its sizes
  archive.replace(second + 42, 4, little(header, 4));            // its place
  EXPECT_GRADUS_ERROR(read(archive), corrupt, "more bytes together");
}

TEST(Zip, EveryBeginningOfAnArchiveIsAnError) {
  for (const bool large : {false, true}) {
    const std::string archive = archive_of({{"a/data.pkl", "first"}, {"b", "second"}}, "", large);
    for (size_t n = 0; n < archive.size(); ++n) {
      EXPECT_GRADUS_ERROR(read(archive.substr(0, n)), corrupt, "weights.pt");
    }
  }
}

}  // namespace
}  // namespace gradus
