// `gradus convert-heads` on the heads that torch wrote (tests/fixtures/medusa).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "gradus/core/file.h"
#include "gradus/core/safetensors.h"
#include "gradus/lm/tokenizer/tokenizer.h"
#include "program.h"
#include "tests/core/temporary_folder.h"

namespace gradus::cli {
namespace {

using gradus::testing::TemporaryFolder;
using ::testing::HasSubstr;

std::string fixture(const std::string& name) {
  return (std::filesystem::path(GRADUS_SOURCE_DIR) / "tests/fixtures/medusa" / name).string();
}

class ConvertHeads : public ::testing::Test {
 protected:
  ConvertHeads() {
    std::filesystem::copy(fixture("full"), folder_ / "model", std::filesystem::copy_options::recursive);
    const lm::Tokenizer tokenizer = lm::character_tokenizer("0123456789abcdefghijklmnop", "$");
    write_file_atomically(folder_ / "model/tokenizer.json", tokenizer_json(tokenizer));
    write_file_atomically(folder_ / "model/tokenizer_config.json", tokenizer_config_json(tokenizer));
  }

  Outcome convert(const std::string& heads, const std::string& to, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words = {"convert-heads", (folder_ / "model").string(), heads, (folder_ / to).string()};
    words.insert(words.end(), more.begin(), more.end());
    return run_program(words);
  }

  const TemporaryFolder folder_;
};

TEST_F(ConvertHeads, ThereAndBackIsTheSame) {
  const Outcome there = convert(fixture("v1-pt"), "vllm", {"--layout", "vllm"});
  EXPECT_EQ(there.exit_code, 0) << there.err;
  EXPECT_THAT(there.out, HasSubstr("3 heads of 1 layer with outputs of their own, from v1 to vllm"));
  const Outcome back = convert((folder_ / "vllm").string(), "v1");
  EXPECT_EQ(back.exit_code, 0) << back.err;
  const SafetensorsFile before = read_safetensors(fixture("v1/medusa_lm_head.safetensors"));
  const SafetensorsFile after = read_safetensors(folder_ / "v1/medusa_lm_head.safetensors");
  ASSERT_EQ(before.tensors.size(), after.tensors.size());
  for (const auto& [name, tensor] : before.tensors) {
    ASSERT_NE(after.find(name), nullptr) << name;
    EXPECT_EQ(std::memcmp(tensor.raw(), after.find(name)->raw(), tensor.bytes()), 0) << name;
  }
}

TEST_F(ConvertHeads, WhatCannotBeIsOneLineAndNothingIsWritten) {
  const Outcome hostile = convert(fixture("hostile"), "new");
  EXPECT_EQ(hostile.exit_code, 1);
  EXPECT_THAT(hostile.err, HasSubstr("posix.system"));
  EXPECT_EQ(std::ranges::count(hostile.err, '\n'), 1);
  EXPECT_EQ(convert(fixture("v2"), "new", {"--layout", "v1"}).exit_code, 1);
  EXPECT_EQ(convert(fixture("v2"), "new", {"--layout", "v3"}).exit_code, 2);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "new"));
}

}  // namespace
}  // namespace gradus::cli
