#include "gradus/core/torch_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "gradus/core/file.h"
#include "tests/core/expect_error.h"
#include "tests/core/temporary_folder.h"
#include "tests/core/torch_archive.h"

namespace gradus {
namespace {

using testing::archive_of;
using testing::ArchivedFile;
using testing::pickled_dict;
using testing::pickled_program;
using testing::pickled_tensor;
using testing::TemporaryFolder;
using testing::TensorFields;

std::string floats(int n) {
  std::vector<float> values(static_cast<size_t>(n));
  std::iota(values.begin(), values.end(), 0.0f);
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

// A file with these tensors, "a", "b" and so on, all of storage 0 with the numbers 0, 1, ...
std::string file_of(const std::vector<TensorFields>& tensors, int numbers = 6, const std::string& prefix = "archive") {
  std::vector<std::pair<std::string, std::string>> entries;
  for (size_t i = 0; i < tensors.size(); ++i) {
    entries.emplace_back(std::string(1, static_cast<char>('a' + i)), pickled_tensor(tensors[i]));
  }
  return archive_of({{prefix + "/data.pkl", pickled_program(pickled_dict(entries))},
                     {prefix + "/data/0", floats(numbers)},
                     {prefix + "/version", "3\n"}});
}

NamedTensors parse(const std::string& bytes) {
  return parse_torch_file(std::as_bytes(std::span(bytes)), "weights.pt");
}

std::vector<float> numbers(const Tensor& x) {
  return {x.span<float>().begin(), x.span<float>().end()};
}

void expect_corrupt(const TensorFields& t, const std::string& part) {
  EXPECT_GRADUS_ERROR(parse(file_of({t})), corrupt, part);
}

TEST(TorchFile, GivesEachTensorItsPartOfAStorage) {
  const NamedTensors tensors =
      parse(file_of({{}, {.offset = 2, .dims = {3}, .strides = {1}}, {.dims = {}, .strides = {}}}));
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(tensors[0].first, "a");
  EXPECT_EQ(tensors[0].second.shape(), (Shape{2, 3}));
  EXPECT_EQ(numbers(tensors[0].second), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(numbers(tensors[1].second), (std::vector<float>{2, 3, 4}));
  EXPECT_EQ(tensors[2].second.shape(), Shape{});
  EXPECT_EQ(numbers(tensors[2].second), (std::vector<float>{0}));
}

TEST(TorchFile, TransposedTensorsAreTurned) {
  const NamedTensors two = parse(file_of({{.dims = {3, 2}, .strides = {1, 3}}}));
  EXPECT_EQ(two[0].second.shape(), (Shape{3, 2}));
  EXPECT_EQ(numbers(two[0].second), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  // A dimension of size 1 may have any stride.
  const NamedTensors three = parse(file_of({{.dims = {3, 1, 2}, .strides = {2, 77, 1}}}));
  EXPECT_EQ(numbers(three[0].second), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  const NamedTensors cube = parse(file_of({{.storage_numel = 8, .dims = {2, 2, 2}, .strides = {1, 4, 2}}}, 8));
  EXPECT_EQ(numbers(cube[0].second), (std::vector<float>{0, 2, 4, 6, 1, 3, 5, 7}));
}

TEST(TorchFile, TensorsWithoutNumbersAreRead) {
  const NamedTensors tensors =
      parse(file_of({{.dims = {0, 3}, .strides = {3, 1}}, {.offset = 6, .dims = {2, 0, 5}, .strides = {9, 9, 9}}}));
  EXPECT_EQ(tensors[0].second.shape(), (Shape{0, 3}));
  EXPECT_EQ(tensors[1].second.numel(), 0);
}

TEST(TorchFile, AMappedFileIsNotCopied) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "weights.pt", file_of({{}, {.dims = {3, 2}, .strides = {1, 3}}}, 6, "any-name"));
  NamedTensors tensors = map_torch_file(folder / "weights.pt");
  const NamedTensors again = map_torch_file(folder / "weights.pt");
  EXPECT_EQ(numbers(tensors[0].second), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(numbers(tensors[1].second), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  tensors[0].second.data<float>()[0] = 7;  // this tensor's page alone
  EXPECT_EQ(numbers(again[0].second), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(numbers(map_torch_file(folder / "weights.pt")[0].second)[0], 0);
}

TEST(TorchFile, TensorsOutsideTheirStorageAreCorrupt) {
  expect_corrupt({.offset = 1}, "6 numbers from 1 of a storage of 6");
  expect_corrupt({.offset = -1}, "from -1");
  expect_corrupt({.offset = INT64_MAX}, "from 9223372036854775807");
  expect_corrupt({.dims = {2, 4}, .strides = {4, 1}}, "8 numbers from 0 of a storage of 6");
  expect_corrupt({.dims = {-1, -6}}, "negative");
  expect_corrupt({.dims = {INT64_MAX, INT64_MAX}, .strides = {1, 1}}, "more than 2^63");
  expect_corrupt({.dims = {0, INT64_MAX, INT64_MAX}, .strides = {0, 0, 0}}, "more than 2^63");
  expect_corrupt({.dims = {INT64_MAX, 1}, .strides = {1, 1}}, "9223372036854775807 numbers");
  expect_corrupt({.storage_numel = 7}, "a storage of 7 numbers of 4 bytes, but \"0\" has 24 bytes");
  expect_corrupt({.storage_numel = -6}, "a storage of -6 numbers");
  expect_corrupt({.storage_numel = (int64_t{1} << 62) + 6}, "numbers of 4 bytes");  // its bytes wrap around to 24
  expect_corrupt({.storage_class = "DoubleStorage"}, "numbers of 8 bytes");
  expect_corrupt({.key = "1"}, "the storage \"1\", which is not there");
  expect_corrupt({.key = "../data/0"}, "which is not there");
}

TEST(TorchFile, NumbersThatRepeatOrAreLeftOutAreRefused) {
  for (const TensorFields& t : {TensorFields{.dims = {2, 3}, .strides = {0, 1}},
                                {.dims = {2, 2}, .strides = {3, 1}},
                                {.dims = {3}, .strides = {2}},
                                {.dims = {2, 3}, .strides = {1, 1}},
                                {.dims = {6}, .strides = {-1}},
                                {.dims = {2, 2}, .strides = {INT64_MAX, INT64_MIN}}}) {
    EXPECT_GRADUS_ERROR(parse(file_of({t})), unsupported, "repeat numbers or leave some out");
  }
}

TEST(TorchFile, ManyCopiesOfOneStorageAreRefused) {
  const TensorFields large{.storage_numel = 100'000, .dims = {100'000}, .strides = {1}};
  EXPECT_EQ(parse(file_of(std::vector<TensorFields>(8, large), 100'000)).size(), 8u);
  EXPECT_GRADUS_ERROR(parse(file_of(std::vector<TensorFields>(20, large), 100'000)), unsupported, "8 times its own");
}

TEST(TorchFile, OtherFilesAreRefusedByWhatTheyAre) {
  EXPECT_GRADUS_ERROR(parse(std::string("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e and so on", 25)),
                      unsupported, "from before version 1.6");
  EXPECT_GRADUS_ERROR(parse(""), corrupt, "no directory");
  EXPECT_GRADUS_ERROR(parse(archive_of({{"a/b.npy", "x"}})), corrupt, "without data.pkl");
  const std::string empty = pickled_program("}");
  EXPECT_TRUE(parse(archive_of({{"a/data.pkl", empty}, {"a/byteorder", "little"}})).empty());
  EXPECT_GRADUS_ERROR(parse(archive_of({{"a/data.pkl", empty}, {"a/byteorder", "big"}})), unsupported, "\"big\"");
  EXPECT_GRADUS_ERROR(parse(archive_of({{"a/data.pkl", empty}, {"b/data.pkl", empty}})), corrupt,
                      "more than one data.pkl");
}

TEST(TorchFile, EveryBeginningOfAFileIsAnError) {
  const std::string file = file_of({{}, {.dims = {3, 2}, .strides = {1, 3}}});
  for (size_t n = 0; n < file.size(); ++n) EXPECT_GRADUS_ERROR(parse(file.substr(0, n)), corrupt, "weights.pt");
}

}  // namespace
}  // namespace gradus
