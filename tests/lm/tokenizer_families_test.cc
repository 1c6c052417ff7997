// Small vocabularies with the pipelines of the published model families, and what the `tokenizers` package makes of
// texts with them (tools/oracle/make_tokenizer_fixture.py).
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "gradus/core/file.h"
#include "gradus/core/json.h"
#include "gradus/core/rng.h"
#include "gradus/lm/tokenizer/tokenizer.h"
#include "gradus/lm/tokenizer/utf8.h"
#include "tests/core/expect_error.h"

namespace gradus::lm {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

const std::string kFixtures = std::string(GRADUS_SOURCE_DIR) + "/tests/fixtures/tokenizer/";

Tokenizer tokenizer_of(const std::string& family) {
  const std::string folder = kFixtures + family;
  return parse_tokenizer_json(read_file(folder + "/tokenizer.json"), family,
                              read_file(folder + "/tokenizer_config.json"));
}

class TokenizerFamily : public ::testing::TestWithParam<std::string> {
 protected:
  const Tokenizer tokenizer_ = tokenizer_of(GetParam());
  const json texts_ = parse_json(read_file(kFixtures + "texts.json"), "texts.json");
  const json expected_ = parse_json(read_file(kFixtures + GetParam() + "/expected.json"), "expected.json");

  // What is expected of text i, which is listed under `key` only where it is not that under `other`.
  template <class T>
  T listed(const char* key, size_t i, const char* other) const {
    const std::string number = std::to_string(i);
    return (expected_[key].contains(number) ? expected_[key][number] : expected_[other][i]).template get<T>();
  }
};

TEST_P(TokenizerFamily, EncodesAsTheTokenizersPackageDoes) {
  ASSERT_GT(texts_.size(), 100u);
  for (size_t i = 0; i < texts_.size(); ++i) {
    EXPECT_EQ(tokenizer_.encode(texts_[i].get<std::string>()), expected_["ids"][i].get<Ids>()) << texts_[i];
  }
}

TEST_P(TokenizerFamily, EncodesSpecialTokensAsTextOnDemand) {
  for (size_t i = 0; i < texts_.size(); ++i) {
    EXPECT_EQ(tokenizer_.encode(texts_[i].get<std::string>(), {.special_as_text = true}),
              listed<Ids>("plain", i, "ids"))
        << texts_[i];
  }
}

TEST_P(TokenizerFamily, AddsTheTokensAroundATextOnDemand) {
  EXPECT_EQ(tokenizer_.encode(texts_[2].get<std::string>(), {.add_special = true}), expected_["special"].get<Ids>());
}

TEST_P(TokenizerFamily, DecodesAsTheTokenizersPackageDoes) {
  for (size_t i = 0; i < texts_.size(); ++i) {
    const Ids ids = expected_["ids"][i].get<Ids>();
    EXPECT_EQ(tokenizer_.decode(ids, {.replace_invalid = true}), expected_["decoded"][i].get<std::string>());
    EXPECT_EQ(tokenizer_.decode(ids, {.skip_special = true, .replace_invalid = true}),
              listed<std::string>("skipped", i, "decoded"));
  }
}

TEST_P(TokenizerFamily, AStreamIsTheTextAtOnceInWholeCharacters) {
  Rng rng(1, Purpose::test);
  for (int round = 0; round < 200; ++round) {
    Ids ids(static_cast<size_t>(rng.below(40)));
    for (int32_t& id : ids) id = static_cast<int32_t>(rng.below(tokenizer_.n_vocab()));
    const DecodeOptions options{.skip_special = round % 2 == 0, .replace_invalid = round % 3 > 0};
    StreamDecoder stream(tokenizer_, options);
    std::string text;
    for (const int32_t id : ids) {
      const std::string part = stream.push(id);
      EXPECT_TRUE(!options.replace_invalid || find_invalid_utf8(part) == std::string::npos);
      text += part;
    }
    text += stream.finish();
    EXPECT_EQ(text, tokenizer_.decode(ids, options));
  }
}

TEST_P(TokenizerFamily, PartsThatAreTextOnlyChangeNothingButSpecialTokens) {
  for (size_t i = 0; i < texts_.size(); ++i) {
    const auto text = texts_[i].get<std::string>();
    const std::vector<Span> all = {{0, text.size()}}, none = {{0, 0}};
    EXPECT_EQ(tokenizer_.encode(text, {.text_only = none}), expected_["ids"][i].get<Ids>());
    const Ids ids = tokenizer_.encode(text, {.text_only = all});
    EXPECT_EQ(ids, listed<Ids>("plain", i, "ids")) << texts_[i];
  }
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerFamily,
                         ::testing::Values("gpt2", "llama3", "qwen2", "qwen3", "smollm2", "mistral", "mistral_v3",
                                           "tekken", "everything", "whitespace"),
                         [](const auto& family) { return family.param; });

TEST(TextOnly, ASpecialTokenIsTextExactlyWhereItTouchesSuchAPart) {
  const Tokenizer t = tokenizer_of("qwen2");
  const std::string text = "<|im_end|>a<|im_end|>b<|im_end|>";  // tokens at 0, 11, 22; each has 10 bytes
  const auto count = [&](std::vector<Span> parts) {
    const Ids ids = t.encode(text, {.text_only = parts});
    EXPECT_EQ(t.decode(ids), text);
    return std::count(ids.begin(), ids.end(), *t.id_of("<|im_end|>"));
  };
  EXPECT_EQ(count({}), 3);
  EXPECT_EQ(count({{10, 11}}), 3);
  EXPECT_EQ(count({{9, 11}}), 2);
  EXPECT_EQ(count({{10, 12}, {31, 32}}), 1);
  EXPECT_EQ(count({{0, 32}}), 0);
}

TEST(TextOnly, ATokenOfTheTextCannotHideOneThatIsMeant) {
  const Tokenizer t = tokenizer_of("qwen2");
  const std::string text = "<|im_start|><|im_end|>";
  EXPECT_EQ(t.encode(text, {.text_only = std::vector<Span>{{0, 12}}}).back(), *t.id_of("<|im_end|>"));
}

TEST(InvalidUtf8, IsEncodedByteByByteOnByteLevelAndComesBack) {
  Rng rng(2, Purpose::test);
  for (const char* family : {"gpt2", "llama3", "smollm2"}) {
    const Tokenizer t = tokenizer_of(family);
    for (int i = 0; i < 100; ++i) {
      std::string text(static_cast<size_t>(rng.below(40)), '\0');
      for (char& c : text) c = static_cast<char>(rng.below(4) == 0 ? rng.below(256) : 'a' + rng.below(5));
      EXPECT_EQ(t.decode(t.encode(text)), text);
    }
  }
  EXPECT_GRADUS_ERROR(tokenizer_of("mistral").encode("ab\xff"), invalid_argument, "not valid UTF-8 at byte 2");
}

TEST(SpecialIds, AreThoseThatTheConfigurationNames) {
  const Tokenizer qwen = tokenizer_of("qwen2"), llama = tokenizer_of("llama3"), gpt2 = tokenizer_of("gpt2");
  EXPECT_EQ(qwen.token(qwen.eos_id()), "<|im_end|>");
  EXPECT_EQ(qwen.token(qwen.pad_id()), "<|endoftext|>");
  EXPECT_EQ(qwen.bos_id(), std::nullopt);
  EXPECT_EQ(llama.token(llama.eos_id()), "<|eot_id|>");
  EXPECT_EQ(llama.bos_id(), llama.id_of("<|begin_of_text|>"));
  EXPECT_FALSE(qwen.is_special(*qwen.id_of("<tool_call>")));
  EXPECT_TRUE(gpt2.is_special(gpt2.eos_id()));
  EXPECT_FALSE(gpt2.is_byte_level());  // it has merges
}

}  // namespace
}  // namespace gradus::lm
