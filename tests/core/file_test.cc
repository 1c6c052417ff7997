#include "gradus/core/file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <cstring>

#include "tests/core/expect_error.h"
#include "tests/core/temporary_folder.h"

namespace gradus {
namespace {

using testing::TemporaryFolder;

int64_t n_files(const TemporaryFolder& folder) {
  const std::filesystem::directory_iterator files(folder.path());
  return std::distance(begin(files), end(files));
}

TEST(WriteFileAtomically, ReplacesTheWholeFile) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", std::string(100000, 'x'));
  write_file_atomically(folder / "a", std::string("short\0tail", 10));
  EXPECT_EQ(read_file(folder / "a"), std::string("short\0tail", 10));
  EXPECT_EQ(n_files(folder), 1);
}

TEST(WriteFileAtomically, JoinsPieces) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", [](const Append& append) {
    append("one ", 4);
    append("", 0);
    append("two", 3);
  });
  EXPECT_EQ(read_file(folder / "a"), "one two");
}

TEST(WriteFileAtomically, AWriterThatThrowsLeavesTheOldFileAndNothingElse) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", "old");
  EXPECT_GRADUS_ERROR(write_file_atomically(folder / "a",
                                            [](const Append& append) {
                                              append("half", 4);
                                              fail(ErrorCode::interrupted, "stopped");
                                            }),
                      interrupted, "stopped");
  EXPECT_EQ(read_file(folder / "a"), "old");
  EXPECT_EQ(n_files(folder), 1);
}

// A limit on file size stands for a full disk: write fails after some bytes.
TEST(WriteFileAtomically, AFullDiskIsAnIoErrorAndLeavesTheOldFile) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", "old");
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  struct rlimit small = before;
  small.rlim_cur = 4096;
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  EXPECT_GRADUS_ERROR(write_file_atomically(folder / "a", std::string(100000, 'x')), io, (folder / "a").string());
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_EQ(read_file(folder / "a"), "old");
  EXPECT_EQ(n_files(folder), 1);
}

TEST(WriteFileAtomically, AMissingFolderIsNamed) {
  const TemporaryFolder folder;
  EXPECT_GRADUS_ERROR(write_file_atomically(folder / "missing/a", "x"), not_found, "missing/a");
}

TEST(WriteFileAtomically, AFolderInTheWayIsAnIoError) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "a/b");
  EXPECT_GRADUS_ERROR(write_file_atomically(folder / "a", "x"), io, (folder / "a").string());
  EXPECT_EQ(n_files(folder), 1);
}

TEST(ReadFile, NamesWhatItCannotRead) {
  const TemporaryFolder folder;
  EXPECT_GRADUS_ERROR(read_file(folder / "missing"), not_found, "missing");
  EXPECT_GRADUS_ERROR(read_file(folder.path()), io, folder.path().string());
}

TEST(MappedFile, ShowsTheBytesAndMoves) {
  const TemporaryFolder folder;
  const std::string text(70000, 'y');
  write_file_atomically(folder / "a", text);
  write_file_atomically(folder / "empty", "");
  MappedFile a(folder / "a");
  MappedFile b = std::move(a);
  ASSERT_EQ(b.bytes().size(), text.size());
  EXPECT_EQ(std::memcmp(b.bytes().data(), text.data(), text.size()), 0);
  b = MappedFile(folder / "empty");
  EXPECT_TRUE(b.bytes().empty());
}

TEST(MappedFile, NamesWhatItCannotMap) {
  const TemporaryFolder folder;
  EXPECT_GRADUS_ERROR(MappedFile(folder / "missing"), not_found, "missing");
  EXPECT_GRADUS_ERROR(MappedFile(folder.path()), io, "not a regular file");
}

}  // namespace
}  // namespace gradus
