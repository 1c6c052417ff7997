#include "gradus/lm/weight_files.h"

#include <nlohmann/json.hpp>

#include "gradus/core/file.h"
#include "gradus/core/json.h"
#include "tests/core/expect_error.h"
#include "tests/core/temporary_folder.h"
#include "tests/kernels/grid.h"

namespace gradus::lm {
namespace {

using gradus::testing::TemporaryFolder;
using nlohmann::json;

constexpr const char* kIndex = "model.safetensors.index.json";

// Five tensors of 400 bytes.
std::vector<StoredTensor> five_tensors(DType dtype = DType::f32) {
  std::vector<StoredTensor> out;
  for (uint64_t i = 0; i < 5; ++i)
    out.push_back({fmt::format("t{}", i), kernels::random_tensor({10, 10}, DType::f32, i), dtype});
  return out;
}

// A folder with a good index and three shards; `change` may spoil the index.
template <class Change>
void open_with(Change change) {
  const TemporaryFolder folder;
  write_weight_files(folder.path(), five_tensors(), 800);
  json index = parse_json(read_file(folder / kIndex), kIndex);
  change(index);
  write_file_atomically(folder / kIndex, write_json(index));
  const WeightFiles files(folder.path());
}

TEST(WeightFiles, ShardsHoldWhatOneFileHolds) {
  const TemporaryFolder one, many;
  const auto tensors = five_tensors();
  write_weight_files(one.path(), tensors, 2000);
  write_weight_files(many.path(), tensors, 1999);
  EXPECT_TRUE(std::filesystem::exists(one / "model.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(one / kIndex));
  EXPECT_FALSE(std::filesystem::exists(many / "model.safetensors"));
  EXPECT_TRUE(std::filesystem::exists(many / "model-00002-of-00002.safetensors"));
  EXPECT_EQ(parse_json(read_file(many / kIndex), kIndex)["metadata"]["total_size"], 2000);
  const WeightFiles a(one.path()), b(many.path());
  EXPECT_EQ(a.bytes(), 2000);
  EXPECT_EQ(b.bytes(), 2000);
  for (const StoredTensor& t : tensors) {
    EXPECT_TRUE(kernels::same_bits(*a.find(t.name), t.values));
    EXPECT_TRUE(kernels::same_bits(*b.find(t.name), t.values));
  }
}

TEST(WeightFiles, ATensorLargerThanAShardHasOneOfItsOwn) {
  const TemporaryFolder folder;
  write_weight_files(folder.path(), five_tensors(), 1);
  EXPECT_EQ(WeightFiles(folder.path()).tensors().size(), 5u);
  EXPECT_TRUE(std::filesystem::exists(folder / "model-00005-of-00005.safetensors"));
}

TEST(WeightFiles, TheOtherLayoutOfAnEarlierModelGoesAway) {
  const TemporaryFolder folder;
  for (const int64_t shard_bytes : {int64_t{800}, int64_t{1} << 30, int64_t{400}}) {
    auto tensors = five_tensors();
    tensors[0].values = kernels::random_tensor({10, 10}, DType::f32, static_cast<uint64_t>(shard_bytes));
    write_weight_files(folder.path(), tensors, shard_bytes);
    EXPECT_TRUE(kernels::same_bits(*WeightFiles(folder.path()).find("t0"), tensors[0].values)) << shard_bytes;
  }
}

TEST(WeightFiles, AMappedModelMayBeSavedWhereItLies) {
  const TemporaryFolder folder;
  write_weight_files(folder.path(), five_tensors(), 800);
  const WeightFiles files(folder.path());
  std::vector<StoredTensor> again;
  for (const auto& [name, tensor] : files.tensors()) again.push_back({name, tensor, DType::f32});
  write_weight_files(folder.path(), again, 1 << 20);
  for (const StoredTensor& t : five_tensors()) {
    EXPECT_TRUE(kernels::same_bits(*files.find(t.name), t.values));
    EXPECT_TRUE(kernels::same_bits(*WeightFiles(folder.path()).find(t.name), t.values));
  }
}

TEST(WeightFiles, WhatIsReadIsWhatIsThereInTheFormatAskedFor) {
  const TemporaryFolder folder;
  const Tensor x = kernels::random_tensor({3001, 1021}, DType::f32, 7);  // more than one chunk
  write_weight_files(folder.path(), {{"x", x, DType::f32}}, 1 << 30);
  const WeightFiles files(folder.path());
  WeightBlock block(WeightBlock::room_of(x.numel(), DType::bf16) + WeightBlock::room_of(x.numel(), DType::f32));
  for (int turn = 0; turn < 2; ++turn) {  // then there is no room left in the block
    EXPECT_TRUE(
        kernels::same_bits(read_from_file(*files.find("x"), DType::bf16, block), kernels::converted(x, DType::bf16)));
    EXPECT_TRUE(kernels::same_bits(read_from_file(*files.find("x"), DType::f32, block), x));
  }
  EXPECT_TRUE(kernels::same_bits(*files.find("x"), x));  // pages that were let go are read again
}

TEST(WeightBlock, TensorsLieSideBySideAndKeepIt) {
  std::optional<WeightBlock> block(std::in_place, 2 * WeightBlock::kAlignment);
  const Tensor a = block->take({3}, DType::bf16), b = block->take({2, 8}, DType::f32),
               own = block->take({5}, DType::f64);
  EXPECT_EQ(static_cast<const std::byte*>(b.raw()) - static_cast<const std::byte*>(a.raw()), WeightBlock::kAlignment);
  EXPECT_EQ(b.shape(), (Shape{2, 8}));
  block.reset();
  for (const Tensor* t : {&a, &b, &own}) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(t->raw()) % WeightBlock::kAlignment, 0u);
    Tensor(*t).fill_zero();  // still there
  }
}

TEST(WeightIndex, FilesThatAreMoreThanANameAreCorrupt) {
  const auto read = [](const std::string& file) {
    return parse_weight_index(write_json(json{{"weight_map", {{"a", file}}}}), kIndex);
  };
  EXPECT_EQ(read("model-00001-of-00001.safetensors").at("a"), "model-00001-of-00001.safetensors");
  for (const char* file :
       {"../model.safetensors", "/etc/model.safetensors", "a/b.safetensors", "..\\b.safetensors", "", ".safetensors",
        "..safetensors", "model.bin", "x.safetensors/..", "a\nb.safetensors", "model.safetensors "}) {
    EXPECT_GRADUS_ERROR(read(file), corrupt, "not the name of a .safetensors file");
  }
  EXPECT_GRADUS_ERROR(read(std::string(300, 'a') + ".safetensors"), corrupt, "not the name");
}

TEST(WeightIndex, OtherTextsAreCorrupt) {
  for (const char* text : {"{}", "[]", "3", R"({"weight_map": 3})", R"({"weight_map": []})"}) {
    EXPECT_GRADUS_ERROR(parse_weight_index(text, kIndex), corrupt, "no weight_map");
  }
  EXPECT_GRADUS_ERROR(parse_weight_index(R"({"weight_map": {"a": 3}})", kIndex), corrupt, "no text");
  EXPECT_GRADUS_ERROR(parse_weight_index(R"({"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}})", kIndex),
                      corrupt, "twice");
  EXPECT_GRADUS_ERROR(parse_weight_index(R"({"weight_map": NaN})", kIndex), corrupt, "not valid JSON");
}

TEST(WeightIndex, ItAndTheShardsMustAgree) {
  open_with([](json&) {});
  EXPECT_GRADUS_ERROR(open_with([](json& i) { i["weight_map"]["t9"] = i["weight_map"]["t0"]; }), corrupt,
                      "tensor \"t9\" is not in");
  EXPECT_GRADUS_ERROR(open_with([](json& i) { i["weight_map"].erase("t0"); }), corrupt, "nowhere");
  EXPECT_GRADUS_ERROR(open_with([](json& i) { i["weight_map"]["t0"] = i["weight_map"]["t4"]; }), corrupt,
                      "in another file");
  EXPECT_GRADUS_ERROR(open_with([](json& i) { i["weight_map"]["t0"] = "gone.safetensors"; }), corrupt,
                      "names the file \"gone.safetensors\", which is not there");
}

TEST(WeightFiles, PicklesAndEmptyFoldersAreNamed) {
  const TemporaryFolder folder;
  EXPECT_GRADUS_ERROR(WeightFiles(folder.path()), not_found, "neither model.safetensors nor");
  write_file_atomically(folder / "pytorch_model.bin", "x");
  EXPECT_GRADUS_ERROR(WeightFiles(folder.path()), unsupported, "pytorch_model.bin, a pickle");
}

}  // namespace
}  // namespace gradus::lm
