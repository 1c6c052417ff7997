#include "gradus/lm/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "gradus/core/file.h"
#include "gradus/core/json.h"
#include "gradus/core/rng.h"
#include "gradus/lm/tokenizer/byte_characters.h"
#include "gradus/lm/tokenizer/utf8.h"
#include "tests/core/expect_error.h"

namespace gradus::lm {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

const std::string kFixtures = std::string(GRADUS_SOURCE_DIR) + "/tests/fixtures/tokenizer/";

TEST(Utf8, DecodesExactlyWhatUnicodeAllows) {
  // Every code point but the surrogates, encoded by the definition.
  for (uint32_t c = 0; c < 0x110000; ++c) {
    std::string bytes;
    if (c < 0x80) {
      bytes = {static_cast<char>(c)};
    } else if (c < 0x800) {
      bytes = {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
    } else if (c < 0x10000) {
      bytes = {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 0x3F)),
               static_cast<char>(0x80 | (c & 0x3F))};
    } else {
      bytes = {static_cast<char>(0xF0 | c >> 18), static_cast<char>(0x80 | (c >> 12 & 0x3F)),
               static_cast<char>(0x80 | (c >> 6 & 0x3F)), static_cast<char>(0x80 | (c & 0x3F))};
    }
    const CodePoint got = decode_utf8(bytes + "x");
    if (c >= 0xD800 && c <= 0xDFFF) {
      ASSERT_EQ(got.n_bytes, 0) << c;
    } else {
      ASSERT_EQ(got.n_bytes, static_cast<int>(bytes.size())) << c;
      ASSERT_EQ(got.value, c);
    }
  }
  for (const char* bad : {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xF0\x80\x80\x80", "\xF4\x90\x80\x80",
                          "\xF5\x80\x80\x80", "\xFF", "\xC3", "\xE2\x82", "\xC3\x28", "\xE2\x28\xA1"}) {
    EXPECT_EQ(decode_utf8(bad).n_bytes, 0);
  }
}

TEST(CharacterTokenizer, NumbersTheAlphabetThenEndThenPadding) {
  const Tokenizer t = character_tokenizer("01\xc3\xa9", "<eos>");
  EXPECT_EQ(t.n_vocab(), 5);
  EXPECT_EQ(t.token(2), "\xc3\xa9");
  EXPECT_EQ(t.eos_id(), 3);
  EXPECT_EQ(t.pad_id(), 4);
  EXPECT_EQ(t.id_of("<pad>"), 4);
  EXPECT_EQ(t.id_of("2"), std::nullopt);
  EXPECT_FALSE(t.is_special(2));
  EXPECT_TRUE(t.is_special(3) && t.is_special(4));
  EXPECT_FALSE(t.is_special(-1) || t.is_special(5));
}

TEST(CharacterTokenizer, AnEndTokenOfTheAlphabetKeepsItsPlace) {
  const Tokenizer t = character_tokenizer("01$=", "$");
  EXPECT_EQ(t.eos_id(), 2);
  EXPECT_EQ(t.pad_id(), 4);
  EXPECT_EQ(t.n_vocab(), 5);
  EXPECT_EQ(t.encode("1$"), (Ids{1, 2}));
}

TEST(CharacterTokenizer, RefusesWhatHasNoUniqueReading) {
  EXPECT_GRADUS_ERROR(character_tokenizer("", "$"), invalid_argument, "alphabet is empty");
  EXPECT_GRADUS_ERROR(character_tokenizer("010", "$"), invalid_argument, "\"0\" is there twice");
  EXPECT_GRADUS_ERROR(character_tokenizer("01", "$", "$"), invalid_argument, "must differ");
  EXPECT_GRADUS_ERROR(character_tokenizer("01", ""), invalid_argument, "not be empty");
  EXPECT_GRADUS_ERROR(character_tokenizer("01\xff", "$"), invalid_argument, "not valid UTF-8 at byte 2");
  EXPECT_GRADUS_ERROR(character_tokenizer("01", "\xff"), invalid_argument, "not valid UTF-8 at byte 0");
}

TEST(Tokenizer, RefusesAVocabularyThatContradictsItself) {
  EXPECT_GRADUS_ERROR(Tokenizer({.tokens = {"ab", "$"}, .special_ids = {1}, .eos_id = 1, .pad_id = 1}),
                      invalid_argument, "more than one character");
  EXPECT_GRADUS_ERROR(Tokenizer({.tokens = {"a", ""}, .special_ids = {1}, .eos_id = 1, .pad_id = 1}), invalid_argument,
                      "empty");
  EXPECT_GRADUS_ERROR(Tokenizer({.tokens = {"a"}, .special_ids = {1}, .eos_id = 1, .pad_id = 1}), invalid_argument,
                      "special ids");
  EXPECT_GRADUS_ERROR(Tokenizer({.tokens = {"a", "$"}, .special_ids = {1}, .eos_id = 0, .pad_id = 1}), invalid_argument,
                      "end token");
  EXPECT_GRADUS_ERROR(Tokenizer({}), invalid_argument, "0 tokens");
}

TEST(Tokenizer, EncodingNamesTheUnknownCharacterAndItsPosition) {
  const Tokenizer t = character_tokenizer("01\xc3\xa9", "$");
  EXPECT_GRADUS_ERROR(t.encode("0\xc3\xa9z1"), invalid_argument, "the character \"z\" (U+007A) at position 2");
  EXPECT_GRADUS_ERROR(t.encode("<pad>\n"), invalid_argument, "\"\\n\" (U+000A) at position 5");
  EXPECT_GRADUS_ERROR(t.encode("0\xc3\xa9\xc3"), invalid_argument, "not valid UTF-8 at byte 3");
}

TEST(Tokenizer, DecodingShowsOrSkipsSpecialTokens) {
  const Tokenizer t = character_tokenizer("01", "$");
  const Ids ids{0, 1, 2, 3, 1};
  EXPECT_EQ(t.decode(ids), "01$<pad>1");
  EXPECT_EQ(t.decode(ids, {.skip_special = true}), "011");
  EXPECT_EQ(t.decode({}), "");
  EXPECT_GRADUS_ERROR(t.decode(Ids{0, 4}), invalid_argument, "token id 4 is not one of the 4 tokens");
  EXPECT_GRADUS_ERROR(t.decode(Ids{-1}), invalid_argument, "token id -1");
}

TEST(Tokenizer, EncodingTakesTheLongestSpecialToken) {
  const Tokenizer t({.tokens = {"<", "a", "<a", "<a<a"}, .special_ids = {3, 2}, .eos_id = 2, .pad_id = 3});
  EXPECT_EQ(t.encode("<a<aa<<a<"), (Ids{3, 1, 0, 2, 0}));
}

TEST(Tokenizer, AnyTextOfTheAlphabetSurvivesTheRoundTrip) {
  const Tokenizer t = character_tokenizer("0 \n\t<\xc3\xa9\xe4\xb8\xad\xf0\x9f\x99\x82", "$");
  Rng rng(1, Purpose::test);
  for (int i = 0; i < 500; ++i) {
    Ids ids(static_cast<size_t>(rng.below(30)));
    for (int32_t& id : ids) id = static_cast<int32_t>(rng.below(t.n_vocab()));
    EXPECT_EQ(t.encode(t.decode(ids)), ids);
  }
}

TEST(ByteCharacters, AreThoseOfGpt2) {
  EXPECT_EQ(byte_character('A'), "A");
  EXPECT_EQ(byte_character(' '), "\xc4\xa0");   // U+0120
  EXPECT_EQ(byte_character('\n'), "\xc4\x8a");  // U+010A
  EXPECT_EQ(byte_character(0xe9), "\xc3\xa9");
  EXPECT_EQ(byte_character(0xad), "\xc5\x83");  // U+0143, the last of the others
  for (int byte = 0; byte < 256; ++byte) {
    EXPECT_EQ(byte_of_character(byte_character(static_cast<uint8_t>(byte))), byte);
  }
  for (const char* other : {"", " ", "\n", "AB", "\xc5\x84", "\xff"}) {
    EXPECT_EQ(byte_of_character(other), std::nullopt) << other;
  }
}

TEST(ByteTokenizer, AnyBytesSurviveTheRoundTripAndEachHasItsOwnId) {
  const Tokenizer t = byte_tokenizer();
  EXPECT_EQ(t.n_vocab(), 257);
  EXPECT_TRUE(t.is_byte_level());
  EXPECT_EQ(t.eos_id(), 256);
  EXPECT_EQ(t.pad_id(), 256);
  std::string all;
  for (int byte = 0; byte < 256; ++byte) {
    EXPECT_EQ(t.byte_ids()[static_cast<size_t>(byte)], byte);
    all += static_cast<char>(byte);
  }
  const Ids ids = t.encode(all);
  EXPECT_TRUE(std::ranges::equal(ids, t.byte_ids()));
  EXPECT_EQ(t.decode(ids), all);

  Rng rng(1, Purpose::test);
  for (int i = 0; i < 200; ++i) {
    std::string text(static_cast<size_t>(rng.below(50)), '\0');
    for (char& c : text) c = static_cast<char>(rng.below(256));
    EXPECT_EQ(t.decode(t.encode(text)), text);
  }
}

TEST(ByteTokenizer, TheEndTokenIsReadAndSkipped) {
  const Tokenizer t = byte_tokenizer("<end>");
  const Ids ids{'a', 256, 0xff};
  EXPECT_EQ(t.encode("a<end>\xff"), ids);
  EXPECT_EQ(t.decode(ids), "a<end>\xff");
  EXPECT_EQ(t.decode(ids, {.skip_special = true}), "a\xff");
}

TEST(ByteTokenizer, RefusesAnEndThatIsAByteAndAVocabularyThatIsNotOfBytes) {
  EXPECT_GRADUS_ERROR(byte_tokenizer("A"), invalid_argument, "\"A\" is there twice");
  EXPECT_GRADUS_ERROR(byte_tokenizer(""), invalid_argument, "token 256 is empty");
  Vocabulary v = byte_tokenizer().vocabulary();
  v.tokens[7] = "\n";
  EXPECT_GRADUS_ERROR(Tokenizer{v}, invalid_argument, "token 7 \"\\n\" stands for no byte");
  v.tokens[7] = "<seven>";
  v.special_ids.push_back(7);
  EXPECT_GRADUS_ERROR(Tokenizer{v}, invalid_argument, "no token stands for the byte 0x07");
}

// tests/fixtures/tokenizer is made by the `tokenizers` package (tools/oracle/make_tokenizer_fixture.py).
class TokenizersPackage : public ::testing::Test {
 protected:
  const json document_ = parse_json(read_file(kFixtures + "encodings.json"), "encodings.json");
  const std::string text_ = read_file(kFixtures + "tokenizer.json");
  const Tokenizer ours_ = character_tokenizer(document_["alphabet"].get<std::string>(),
                                              document_["eos"].get<std::string>(), document_["pad"].get<std::string>());
};

TEST_F(TokenizersPackage, WritesTheFileThatWeWrite) {
  EXPECT_EQ(parse_json(tokenizer_json(ours_), "ours"), parse_json(text_, "theirs"));
}

TEST_F(TokenizersPackage, ItsFileIsReadAsTheSameTokenizer) {
  EXPECT_TRUE(parse_tokenizer_json(text_, "tokenizer.json") == ours_);
}

TEST_F(TokenizersPackage, EncodesAndDecodesAsWeDo) {
  ASSERT_FALSE(document_["cases"].empty());
  for (const json& c : document_["cases"]) {
    const Ids ids = ours_.encode(c["text"].get<std::string>());
    EXPECT_EQ(ids, c["ids"].get<Ids>()) << c["text"];
    EXPECT_EQ(ours_.decode(ids), c["decoded"].get<std::string>());
    EXPECT_EQ(ours_.decode(ids, {.skip_special = true}), c["decoded_without_special"].get<std::string>());
  }
}

TEST(TokenizersPackageBytes, WritesReadsEncodesAndDecodesAsWeDo) {
  const Tokenizer ours = byte_tokenizer();
  const std::string text = read_file(kFixtures + "byte_tokenizer.json");
  EXPECT_EQ(parse_json(tokenizer_json(ours), "ours"), parse_json(text, "theirs"));
  EXPECT_TRUE(parse_tokenizer_json(text, "byte_tokenizer.json") == ours);
  const json document = parse_json(read_file(kFixtures + "byte_encodings.json"), "byte_encodings.json");
  ASSERT_FALSE(document["cases"].empty());
  for (const json& c : document["cases"]) {
    const Ids ids = ours.encode(c["text"].get<std::string>());
    EXPECT_EQ(ids, c["ids"].get<Ids>()) << c["text"];
    EXPECT_EQ(ours.decode(ids), c["decoded"].get<std::string>());
    EXPECT_EQ(ours.decode(ids, {.skip_special = true}), c["decoded_without_special"].get<std::string>());
  }
}

class TokenizerJson : public ::testing::Test {
 protected:
  // What is read after `change` was made to a good file.
  template <class Change>
  static Tokenizer read(Change change, const std::string& config = "") {
    json document = parse_json(tokenizer_json(character_tokenizer("01$", "$")), "t.json");
    change(document);
    return parse_tokenizer_json(write_json(document), "t.json", config);
  }
};

TEST_F(TokenizerJson, SurvivesTheRoundTrip) {
  for (const char* eos : {"$", "<eos>", "1"}) {
    const Tokenizer t = character_tokenizer("01\"\\\n\xc3\xa9", eos);
    EXPECT_TRUE(parse_tokenizer_json(tokenizer_json(t), "t.json") == t);
    EXPECT_TRUE(parse_tokenizer_json(tokenizer_json(t), "t.json", tokenizer_config_json(t)) == t);
  }
  EXPECT_FALSE(character_tokenizer("01", "$") == character_tokenizer("10", "$"));
}

TEST_F(TokenizerJson, TheConfigurationNamesEndAndPadding) {
  // The padding token stands before the end token, so the order alone would tell it wrong.
  const Tokenizer t = character_tokenizer("01_$", "$", "_");
  EXPECT_TRUE(parse_tokenizer_json(tokenizer_json(t), "t.json", tokenizer_config_json(t)) == t);
  const auto none = [](json&) {};
  EXPECT_EQ(read(none, R"({"eos_token": "<pad>"})").pad_id(), 3);
  EXPECT_EQ(read(none, R"({"eos_token": {"content": "$"}, "pad_token": null})").pad_id(), 2);
  EXPECT_GRADUS_ERROR(read(none, R"({"eos_token": "0"})"), corrupt, "\"0\", which is not a special token");
  EXPECT_GRADUS_ERROR(read(none, R"({"eos_token": 3})"), corrupt, "eos_token that is not a text");
  EXPECT_EQ(read(none, R"({})").eos_id(), 2);  // the first special token
  EXPECT_EQ(read(none, R"({"eos_token": "$", "bos_token": "<pad>"})").bos_id(), 3);
  EXPECT_EQ(read(none, R"({"eos_token": "$", "bos_token": null})").bos_id(), std::nullopt);
  EXPECT_GRADUS_ERROR(read(none, R"([])"), corrupt, "not a JSON object");
  EXPECT_GRADUS_ERROR(read(none, R"({)"), corrupt, "tokenizer_config.json): not valid JSON");
}

TEST_F(TokenizerJson, OfBytesSurvivesTheRoundTrip) {
  const Tokenizer t = byte_tokenizer("<end>");
  EXPECT_TRUE(parse_tokenizer_json(tokenizer_json(t), "t.json", tokenizer_config_json(t)) == t);
  EXPECT_FALSE(t == byte_tokenizer());
  const auto read_bytes = [&](auto change) {
    json document = parse_json(tokenizer_json(t), "t.json");
    change(document);
    return parse_tokenizer_json(write_json(document), "t.json");
  };
  // Into which words text is cut makes no difference without merges.
  const Tokenizer cut = read_bytes([](json& d) { d["pre_tokenizer"]["use_regex"] = true; });
  EXPECT_TRUE(cut.is_byte_level());
  EXPECT_EQ(cut.encode("a b\xff<end>"), t.encode("a b\xff<end>"));
  const Tokenizer spaced = read_bytes([](json& d) { d["pre_tokenizer"]["add_prefix_space"] = true; });
  EXPECT_EQ(spaced.encode("a"), t.encode(" a"));
  EXPECT_FALSE(read_bytes([](json& d) {
                 d["model"]["vocab"].erase("A");
                 d["model"]["vocab"]["\xe4\xb8\xad"] = 65;
               }).is_byte_level());
}

TEST_F(TokenizerJson, AcceptsEqualStructures) {
  const Tokenizer t = character_tokenizer("01$", "$");
  EXPECT_TRUE(
      read([](json& d) {
        for (const char* part : {"version", "truncation", "padding", "normalizer", "pre_tokenizer", "post_processor"})
          d.erase(part);
        d["model"].erase("dropout");
        d["model"].erase("merges");
        d["model"]["continuing_subword_prefix"] = "";
      }) == t);
  EXPECT_TRUE(read([](json& d) { d["model"]["vocab"].erase("<pad>"); }) == t);  // special tokens need not be in vocab
}

TEST_F(TokenizerJson, IsSavedAsTheTextThatWasRead) {
  const std::string text = write_json(parse_json(tokenizer_json(character_tokenizer("01$", "$")), "t.json")) + " \n";
  const std::string config = "{ \"eos_token\":\"$\", \"chat_template\": \"{{ x }}\" }";
  const Tokenizer t = parse_tokenizer_json(text, "t.json", config);
  EXPECT_EQ(tokenizer_json(t), text);
  EXPECT_EQ(tokenizer_config_json(t), config);
  EXPECT_TRUE(t == character_tokenizer("01$", "$", "<pad>") || t.pad_id() == t.eos_id());
}

TEST_F(TokenizerJson, RefusesOtherKindsByName) {
  EXPECT_GRADUS_ERROR(read([](json& d) { d["model"]["type"] = "Unigram"; }), unsupported,
                      "t.json has model type \"Unigram\"");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["model"]["type"] = "WordPiece"; }), unsupported, "\"WordPiece\"");
  EXPECT_GRADUS_ERROR(read([](json& d) {
                        d["normalizer"] = {{"type", "Precompiled"}};
                      }),
                      unsupported, "normalizer \"Precompiled\"");
  EXPECT_GRADUS_ERROR(read([](json& d) {
                        d["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
                      }),
                      unsupported, "pre_tokenizer \"BertPreTokenizer\"");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["decoder"] = {{"type", "BPEDecoder"}}; }), unsupported, "BPEDecoder");
  EXPECT_GRADUS_ERROR(read([](json& d) {
                        d["post_processor"] = {{"type", "BertProcessing"}};
                      }),
                      unsupported, "BertProcessing");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["model"]["dropout"] = 0.1; }), unsupported, "dropout");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["model"]["end_of_word_suffix"] = "</w>"; }), unsupported,
                      "end_of_word_suffix");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["added_tokens"][1]["content"] = std::string(5000, 'x'); }), unsupported,
                      "5000 bytes");
}

TEST_F(TokenizerJson, RefusesContradictionsAsCorrupt) {
  EXPECT_GRADUS_ERROR(parse_tokenizer_json("{", "t.json"), corrupt, "t.json: not valid JSON");
  EXPECT_GRADUS_ERROR(parse_tokenizer_json("[]", "t.json"), corrupt, "not a JSON object");
  EXPECT_GRADUS_ERROR(parse_tokenizer_json("{}", "t.json"), corrupt, "no model");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["model"].erase("vocab"); }), corrupt, "no vocab");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["model"]["vocab"]["0"] = 1; }), corrupt, "same id 1");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["model"]["vocab"]["0"] = -1; }), corrupt, "not a whole number");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["model"]["vocab"]["0"] = 1e30; }), corrupt, "not a whole number");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["model"]["vocab"]["0"] = 7; }), corrupt, "no token of id 0");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["model"]["vocab"][""] = 4; }), corrupt, "empty token");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["added_tokens"][0]["id"] = 0; }), corrupt, "two ids");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["added_tokens"][0]["content"] = "z"; }), corrupt, "same id 2");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["added_tokens"] = json::array(); }), corrupt, "no special token");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["model"]["vocab"]["0"] = 2000000000; }), corrupt, "4 tokens but an id");
  EXPECT_GRADUS_ERROR(read([](json& d) { d["added_tokens"].push_back(d["added_tokens"][0]); }), corrupt, "twice");
  EXPECT_GRADUS_ERROR(read([](json& d) {
                        d["model"]["vocab"].erase("<pad>");
                        d["added_tokens"][1]["id"] = 4;
                      }),
                      corrupt, "but 3 is the next free one");
  EXPECT_GRADUS_ERROR(read([](json& d) {
                        d["added_tokens"] = json::array();
                        d["model"]["vocab"].erase("<pad>");
                      }),
                      corrupt, "no special token");
}

}  // namespace
}  // namespace gradus::lm
