#include "gradus/core/safetensors.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>

#include "gradus/core/file.h"
#include "gradus/core/rng.h"
#include "tests/core/expect_error.h"
#include "tests/core/temporary_folder.h"

namespace gradus {
namespace {

using testing::TemporaryFolder;

// A file with this header and `data_bytes` bytes of data.
std::string file_of(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + std::string(data_bytes, '\x3f');
}

SafetensorsFile parse(const std::string& bytes) {
  return parse_safetensors(std::as_bytes(std::span(bytes.data(), bytes.size())), "model.safetensors");
}

void expect_corrupt(const std::string& header, size_t data_bytes, const std::string& part) {
  SCOPED_TRACE(header.substr(0, 200));
  EXPECT_GRADUS_ERROR(parse(file_of(header, data_bytes)), corrupt, part);
}

// One tensor "a" with the given fields over 16 bytes of data.
void expect_corrupt_entry(const std::string& entry, const std::string& part) {
  expect_corrupt("{\"a\":" + entry + "}", 16, part);
}

bool same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

Tensor random_tensor(Rng& rng, Shape shape, DType dtype) {
  Tensor t = Tensor::empty(shape, dtype);
  for (size_t i = 0; i < t.bytes(); ++i) static_cast<uint8_t*>(t.raw())[i] = static_cast<uint8_t>(rng.bits32());
  return t;
}

constexpr DType kAllDtypes[] = {DType::f64, DType::f32, DType::bf16, DType::f16, DType::i64, DType::i32, DType::u8};

TEST(Safetensors, ReadsAFileAssembledByHand) {
  const SafetensorsFile file = parse(file_of(
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2,1],"data_offsets":[4,12]},"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}   )",
      12));
  ASSERT_EQ(file.tensors.size(), 2u);
  EXPECT_EQ(file.tensors[0].first, "a");  // order of the data, not of the header
  EXPECT_EQ(file.find("a")->data<uint8_t>()[3], 0x3f);
  EXPECT_EQ(file.find("b")->shape(), (Shape{2, 1}));
  EXPECT_EQ(file.find("b")->data<float>()[1], std::bit_cast<float>(0x3f3f3f3fu));
  EXPECT_EQ(file.find("c"), nullptr);
  EXPECT_EQ(file.metadata.at("format"), "pt");
}

TEST(Safetensors, EveryDtypeAndRankSurvivesTheRoundTrip) {
  const TemporaryFolder folder;
  Rng rng(1, Purpose::test);
  NamedTensors tensors;
  for (DType dtype : kAllDtypes) {
    for (const Shape& shape : {Shape{}, Shape{3}, Shape{0}, Shape{2, 0, 3}, Shape{2, 3}, Shape{1, 2, 3, 4}}) {
      tensors.emplace_back(std::string(name(dtype)) + to_string(shape), random_tensor(rng, shape, dtype));
    }
  }
  write_safetensors(folder / "x", tensors, {{"key", "value \xc3\xa9 \"quoted\"\n"}});
  const SafetensorsFile file = read_safetensors(folder / "x");
  EXPECT_EQ(file.tensors.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) EXPECT_TRUE(same(*file.find(name), tensor)) << name;
  EXPECT_EQ(file.metadata.at("key"), "value \xc3\xa9 \"quoted\"\n");
}

TEST(Safetensors, AnEmptyListSurvivesTheRoundTrip) {
  const TemporaryFolder folder;
  write_safetensors(folder / "x", {});
  EXPECT_TRUE(read_safetensors(folder / "x").tensors.empty());
}

TEST(Safetensors, AnyTensorsSurviveTheRoundTrip) {
  const TemporaryFolder folder;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    Rng rng(seed, Purpose::test);
    NamedTensors tensors;
    for (int64_t n = rng.below(6); n > 0; --n) {
      std::vector<int64_t> dims(static_cast<size_t>(rng.below(5)));
      for (int64_t& d : dims) d = rng.below(4);
      const std::string name = fmt::format("tensor \"{}\"\t{}", n, rng.bits32());
      tensors.emplace_back(name, random_tensor(rng, Shape(dims), kAllDtypes[rng.below(7)]));
    }
    write_safetensors(folder / "x", tensors);
    const SafetensorsFile file = read_safetensors(folder / "x");
    ASSERT_EQ(file.tensors.size(), tensors.size());
    for (const auto& [name, tensor] : tensors)
      ASSERT_TRUE(same(*file.find(name), tensor)) << name << " of seed " << seed;
  }
}

TEST(Safetensors, TensorsStartAtMultiplesOfTheirElementSize) {
  const TemporaryFolder folder;
  NamedTensors tensors;
  for (DType dtype : {DType::u8, DType::f64, DType::bf16, DType::f32})
    tensors.emplace_back(name(dtype), Tensor::zeros({3}, dtype));
  write_safetensors(folder / "x", tensors);
  const std::string bytes = read_file(folder / "x");
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), 8);
  EXPECT_EQ(header_bytes % 8, 0u);
  size_t offset = 0;
  for (const auto& [name, tensor] : read_safetensors(folder / "x").tensors) {
    EXPECT_EQ(offset % size_of(tensor.dtype()), 0u) << name;
    offset += tensor.bytes();
  }
}

TEST(Safetensors, EqualTensorsGiveEqualBytes) {
  const TemporaryFolder folder;
  const NamedTensors tensors{{"b", Tensor::zeros({3})}, {"a", Tensor::zeros({2, 2})}};
  write_safetensors(folder / "x", tensors, {{"k", "v"}});
  write_safetensors(folder / "y", tensors, {{"k", "v"}});
  EXPECT_EQ(read_file(folder / "x"), read_file(folder / "y"));
  EXPECT_EQ(read_safetensors(folder / "x").tensors[0].first, "b");
}

TEST(Safetensors, WriterRefusesWhatItCouldNotReadBack) {
  const TemporaryFolder folder;
  const Tensor t = Tensor::zeros({1});
  EXPECT_GRADUS_ERROR(write_safetensors(folder / "x", {{"a", t}, {"a", t}}), invalid_argument,
                      "two tensors are named \"a\"");
  EXPECT_GRADUS_ERROR(write_safetensors(folder / "x", {{"__metadata__", t}}), invalid_argument, "__metadata__");
  EXPECT_GRADUS_ERROR(write_safetensors(folder / "x", {{"a", Tensor()}}), invalid_argument, "\"a\"");
  EXPECT_GRADUS_ERROR(write_safetensors(folder / "x", {{"\xff", t}}), invalid_argument, "UTF-8");
  EXPECT_GRADUS_ERROR(write_safetensors(folder / "x", {{"a", t}}, {{"k", "\xff"}}), invalid_argument, "UTF-8");
  EXPECT_FALSE(std::filesystem::exists(folder / "x"));
}

TEST(MappedSafetensors, TensorsAreViewsThatOutliveTheFileAndItsReader) {
  const TemporaryFolder folder;
  Rng rng(2, Purpose::test);
  const Tensor a = random_tensor(rng, {300, 7}, DType::f32), b = random_tensor(rng, {5}, DType::bf16);
  write_safetensors(folder / "x", {{"a", a}, {"b", b}});
  Tensor first, second;
  {
    const int64_t before = tensor_storages_created();
    const SafetensorsFile file = map_safetensors(folder / "x");
    EXPECT_EQ(tensor_storages_created(), before);  // nothing was copied
    first = *file.find("a"), second = *file.find("b");
  }
  std::filesystem::remove(folder / "x");
  EXPECT_TRUE(same(first, a));
  EXPECT_TRUE(same(second, b));
}

TEST(MappedSafetensors, WritingIntoAViewLeavesTheFileAlone) {
  const TemporaryFolder folder;
  write_safetensors(folder / "x", {{"a", Tensor::zeros({2000})}});
  const std::string before = read_file(folder / "x");
  SafetensorsFile one = map_safetensors(folder / "x"), other = map_safetensors(folder / "x");
  one.tensors[0].second.data<float>()[1999] = 3;
  EXPECT_EQ(other.tensors[0].second.data<float>()[1999], 0);
  EXPECT_EQ(read_file(folder / "x"), before);
}

TEST(MappedSafetensors, ATensorThatIsNotAlignedIsCopied) {
  const TemporaryFolder folder;
  // One byte of u8, then a float at an odd place: the format allows it.
  write_file_atomically(folder / "x", file_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                              R"("b":{"dtype":"F32","shape":[3],"data_offsets":[1,13]}})",
                                              13));
  const SafetensorsFile file = map_safetensors(folder / "x");
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(file.find("b")->raw()) % 4, 0u);
  EXPECT_EQ(file.find("b")->data<float>()[2], std::bit_cast<float>(0x3f3f3f3fu));
}

TEST(MappedSafetensors, HostileFilesAreCorruptJustTheSame) {
  const TemporaryFolder folder;
  const auto expect_corrupt = [&](const std::string& bytes, const std::string& part) {
    write_file_atomically(folder / "x", bytes);
    EXPECT_GRADUS_ERROR(map_safetensors(folder / "x"), corrupt, part);
  };
  expect_corrupt("", "too few");
  expect_corrupt(std::string("\xff\xff\xff\xff\xff\xff\xff\xff{", 9), "over the limit");
  expect_corrupt(std::string("\x01\xe1\xf5\x05\0\0\0\0{", 9), "over the limit");  // 100,000,001 bytes
  expect_corrupt(std::string("\x09\0\0\0\0\0\0\0{", 9), "truncated");
  expect_corrupt(file_of(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,16]}})", 16), "2^63");
  expect_corrupt(file_of(R"({"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}})", 4), "not valid JSON");
  expect_corrupt(file_of(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                         R"("b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
                         6),
                 "overlaps");
  expect_corrupt(file_of(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})", 6), "belong to no tensor");
  expect_corrupt(file_of(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                         R"("a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
                         4),
                 "twice");
}

TEST(SafetensorsReader, NamesAMissingFile) {
  EXPECT_GRADUS_ERROR(read_safetensors("/nonexistent/model.safetensors"), not_found, "/nonexistent/model.safetensors");
}

TEST(SafetensorsReader, EveryTruncationIsCorrupt) {
  const std::string whole = file_of(R"({"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}})", 16);
  EXPECT_NO_THROW(parse(whole));
  for (size_t n = 0; n < whole.size(); ++n)
    EXPECT_GRADUS_ERROR(parse(whole.substr(0, n)), corrupt, "model.safetensors: ");
  EXPECT_GRADUS_ERROR(parse(whole + "x"), corrupt, "1 bytes at the end belong to no tensor");
}

TEST(SafetensorsReader, AHugeHeaderLengthAllocatesNothing) {
  for (uint64_t length : {uint64_t{100'000'001}, uint64_t{1} << 40, UINT64_MAX, UINT64_MAX - 7}) {
    const std::string bytes = std::string(reinterpret_cast<const char*>(&length), 8) + "{}";
    EXPECT_GRADUS_ERROR(parse(bytes), corrupt, "over the limit");
  }
  const uint64_t length = 99'999'999;
  EXPECT_GRADUS_ERROR(parse(std::string(reinterpret_cast<const char*>(&length), 8) + "{}"), corrupt, "truncated");
}

TEST(SafetensorsReader, RefusesAHeaderThatIsNotAJsonObject) {
  expect_corrupt("", 0, "does not begin with {");
  expect_corrupt("[]", 0, "does not begin with {");
  expect_corrupt(" {}", 0, "does not begin with {");
  expect_corrupt("{", 0, "not valid JSON");
  expect_corrupt("{} {}", 0, "not valid JSON");
  expect_corrupt("{\"\xff\":1}", 0, "not valid JSON");
  expect_corrupt(R"({"a":)" + std::string(2'000'000, '['), 0, "nested deeper");
}

TEST(SafetensorsReader, RefusesWrongFields) {
  expect_corrupt_entry(R"(3)", "exactly the fields");
  expect_corrupt_entry(R"({"dtype":"F32","shape":[4]})", "exactly the fields");
  expect_corrupt_entry(R"({"dtype":"F32","shape":[4],"data_offsets":[0,16],"x":1})", "exactly the fields");
  expect_corrupt_entry(R"({"dtype":7,"shape":[4],"data_offsets":[0,16]})", "dtype that is not a string");
  expect_corrupt_entry(R"({"dtype":"F8_E4M3","shape":[16],"data_offsets":[0,16]})", "dtype \"F8_E4M3\"");
  expect_corrupt_entry(R"({"dtype":"F32","shape":4,"data_offsets":[0,16]})", "shape that is not a list");
  expect_corrupt_entry(R"({"dtype":"F32","shape":[-4],"data_offsets":[0,16]})", "shape that is not a list");
  expect_corrupt_entry(R"({"dtype":"F32","shape":[4.0],"data_offsets":[0,16]})", "shape that is not a list");
  expect_corrupt_entry(R"({"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,16]})",
                       "shape that is not a list");
  expect_corrupt_entry(R"({"dtype":"F32","shape":[1,1,1,1,4],"data_offsets":[0,16]})", "5 dimensions");
  expect_corrupt_entry(R"({"dtype":"F32","shape":[4],"data_offsets":[0,16,16]})", "data_offsets");
  expect_corrupt_entry(R"({"dtype":"F32","shape":[4],"data_offsets":["0",16]})", "data_offsets");
  expect_corrupt(R"({"__metadata__":{"a":1}})", 0, "\"a\" is not a string");
  expect_corrupt(R"({"__metadata__":[]})", 0, "not an object");
}

TEST(SafetensorsReader, RefusesSizesThatDoNotAgree) {
  expect_corrupt_entry(R"({"dtype":"F32","shape":[3],"data_offsets":[0,16]})",
                       "has 16 bytes of data, but F32 [3] takes 12");
  expect_corrupt_entry(R"({"dtype":"F32","shape":[4],"data_offsets":[16,0]})", "not a range");
  expect_corrupt_entry(R"({"dtype":"F32","shape":[5],"data_offsets":[0,20]})", "not a range inside the 16 bytes");
  expect_corrupt_entry(R"({"dtype":"F32","shape":[4],"data_offsets":[9223372036854775800,9223372036854775807]})",
                       "not a range");
}

TEST(SafetensorsReader, RefusesAShapeWhoseProductOverflows) {
  // 2^32 * 2^32 * 4 bytes = 2^66, which is 0 modulo 2^64.
  expect_corrupt(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0,
                 "more than 2^63 bytes");
  expect_corrupt(R"({"a":{"dtype":"U8","shape":[9223372036854775807,2,0],"data_offsets":[0,0]}})", 0,
                 "more than 2^63 bytes");
  EXPECT_NO_THROW(parse(file_of(R"({"a":{"dtype":"U8","shape":[9223372036854775807,0],"data_offsets":[0,0]}})", 0)));
}

TEST(SafetensorsReader, RefusesOverlapsHolesAndDuplicates) {
  const auto two = [](const std::string& a, const std::string& b) {
    return R"({"a":{"dtype":"U8","shape":[8],"data_offsets":)" + a +
           R"(},"b":{"dtype":"U8","shape":[8],"data_offsets":)" + b + "}}";
  };
  EXPECT_NO_THROW(parse(file_of(two("[8,16]", "[0,8]"), 16)));
  expect_corrupt(two("[0,8]", "[0,8]"), 8, "overlaps");
  expect_corrupt(two("[0,8]", "[7,15]"), 15, "tensor \"b\" overlaps");
  expect_corrupt(two("[0,8]", "[9,17]"), 17, "1 bytes before tensor \"b\"");
  expect_corrupt(two("[1,9]", "[9,17]"), 17, "1 bytes before tensor \"a\"");
  expect_corrupt(two("[0,8]", "[8,16]"), 17, "at the end");
  expect_corrupt(
      R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", 0,
      "\"a\" is there twice");
}

TEST(SafetensorsReader, AHostileNameStaysOneShortLine) {
  const std::string name = "\\n\\u001b[31m" + std::string(5000, 'x');
  try {
    parse(file_of("{\"" + name + "\":3}", 0));
    FAIL();
  } catch (const Error& e) {
    const std::string_view message = e.what();
    EXPECT_LT(message.size(), 250u);
    for (char c : message) EXPECT_TRUE(c >= 0x20 && c < 0x7F);
  }
}

TEST(SafetensorsReader, ChangedBytesAreReadOrCorruptButNeverAnotherError) {
  const std::string whole = file_of(
      R"({"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"I64","shape":[1],"data_offsets":[16,24]}})",
      24);
  Rng rng(5, Purpose::test);
  for (int i = 0; i < 5000; ++i) {
    std::string changed = whole;
    for (int64_t n = rng.below(3); n >= 0; --n) {
      changed[static_cast<size_t>(rng.below(static_cast<int64_t>(changed.size())))] = static_cast<char>(rng.bits32());
    }
    try {
      parse(changed);
    } catch (const Error& e) {
      ASSERT_EQ(e.code(), ErrorCode::corrupt) << e.what();
    }
  }
}

}  // namespace
}  // namespace gradus
