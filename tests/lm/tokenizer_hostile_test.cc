// Tokenizer files and texts that are made to break a reader.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "gradus/core/file.h"
#include "gradus/core/json.h"
#include "gradus/core/rng.h"
#include "gradus/lm/tokenizer/regex.h"
#include "gradus/lm/tokenizer/tokenizer.h"
#include "gradus/lm/tokenizer/utf8.h"
#include "gradus/lm/tokenizer/word_scan.h"
#include "tests/core/expect_error.h"

namespace gradus::lm {
namespace {

using nlohmann::json;

const std::string kFixtures = std::string(GRADUS_SOURCE_DIR) + "/tests/fixtures/tokenizer/";

// What is read after `change` was made to a family's good file.
template <class Change>
Tokenizer read(const std::string& family, Change change) {
  json document = parse_json(read_file(kFixtures + family + "/tokenizer.json"), "t.json");
  change(document);
  return parse_tokenizer_json(write_json(document), "t.json");
}

json regex_split(const std::string& pattern) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
}

TEST(HostileTokenizer, MergesMustBeOfTokensAndMakeTokens) {
  EXPECT_GRADUS_ERROR(read("llama3",
                           [](json& d) {
                             d["model"]["merges"].push_back({"a", "qzx"});
                           }),
                      corrupt, "\"qzx\", which is not in the vocabulary");
  EXPECT_GRADUS_ERROR(read("llama3",
                           [](json& d) {
                             d["model"]["merges"].push_back({"!", "!"});
                           }),
                      corrupt, "makes \"!!\", which is not in the vocabulary");
  EXPECT_GRADUS_ERROR(read("llama3", [](json& d) { d["model"]["merges"].push_back("a b c"); }), corrupt,
                      "not two tokens");
  EXPECT_GRADUS_ERROR(read("llama3", [](json& d) { d["model"]["merges"].push_back("ab"); }), corrupt, "not two tokens");
  EXPECT_GRADUS_ERROR(read("llama3",
                           [](json& d) {
                             d["model"]["merges"].push_back({"a", 1});
                           }),
                      corrupt, "not two tokens");
  EXPECT_GRADUS_ERROR(read("llama3", [](json& d) { d["model"]["merges"] = 5; }), corrupt, "not a list");
  EXPECT_GRADUS_ERROR(read("mistral", [](json& d) { d["model"]["unk_token"] = "nothing"; }), corrupt, "unknown token");
}

TEST(HostileTokenizer, AMergeGivenTwiceCountsWhereItStandsLast) {
  // As in `tokenizers`; and no order of merges makes a circle, since every merge makes a longer text.
  const Tokenizer t = read("llama3", [](json& d) {
    d["model"]["ignore_merges"] = false;
    d["model"]["merges"] = json::array();
    d["model"]["vocab"]["xy"] = d["model"]["vocab"].size();
    d["model"]["vocab"]["yz"] = d["model"]["vocab"].size();
    d["model"]["merges"] = json::array({"x y", "y z", "x y"});
    d["added_tokens"] = json::array({{{"id", d["model"]["vocab"].size()}, {"content", "<end>"}, {"special", true}}});
    d["post_processor"] = nullptr;
  });
  EXPECT_EQ(t.encode("xyz").back(), *t.id_of("yz"));
}

TEST(HostileTokenizer, IdsOutsideTheVocabularyAreRefused) {
  EXPECT_GRADUS_ERROR(read("mistral", [](json& d) { d["post_processor"]["special_tokens"]["<s>"]["ids"] = {99999}; }),
                      corrupt, "not one of the 420 tokens");
  EXPECT_GRADUS_ERROR(read("mistral", [](json& d) { d["post_processor"]["special_tokens"] = json::object(); }), corrupt,
                      "not in its special_tokens");
  EXPECT_GRADUS_ERROR(read("qwen2", [](json& d) { d["added_tokens"][0]["id"] = 4000000000; }), corrupt, "below 2^31");
}

TEST(HostileTokenizer, ExpressionsThatAreNoneAreRefused) {
  const auto with = [](const std::string& pattern) {
    return read("qwen2", [&](json& d) { d["pre_tokenizer"]["pretokenizers"][0] = regex_split(pattern); });
  };
  for (const char* bad : {"(", "[a", "a**b)", "*", "\\p{L", "(?<=a+)b"}) {
    EXPECT_THROW(with(bad), Error) << bad;
  }
  EXPECT_GRADUS_ERROR(with("(*LIMIT_MATCH=1)a"), unsupported, "a verb");
  EXPECT_GRADUS_ERROR(with("(?R)"), unsupported, "a group (?R");
  EXPECT_GRADUS_ERROR(with("[a&&b]"), unsupported, "intersection");
  EXPECT_GRADUS_ERROR(with("\\Cx"), unsupported, "the escape \\C");
  EXPECT_GRADUS_ERROR(with(std::string(100000, 'a')), unsupported, "100000 bytes");
  EXPECT_GRADUS_ERROR(with("((a{1,60000}){1,60000}){1,60000}"), corrupt, "the regular expression");
}

TEST(HostileTokenizer, ExpressionsThatBacktrackWithoutEndGiveUp) {
  const Tokenizer t = read("qwen2", [](json& d) { d["pre_tokenizer"]["pretokenizers"][0] = regex_split("(a|a)+$"); });
  EXPECT_GRADUS_ERROR(t.encode(std::string(60, 'a') + "b"), exhausted, "gave up on a text of 61 bytes");
}

TEST(HostileTokenizer, StepsThatMakeTextGrowAreBounded) {
  const auto grow = [](json& d) {
    json steps = json::array();
    for (int i = 0; i < 20; ++i) {
      steps.push_back({{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", std::string(1000, 'a')}});
    }
    d["normalizer"] = {{"type", "Sequence"}, {"normalizers", steps}};
  };
  EXPECT_GRADUS_ERROR(read("qwen2", grow).encode("a"), exhausted, "make a text of");
  EXPECT_GRADUS_ERROR(read("qwen2",
                           [](json& d) {
                             json steps = json::array();
                             for (int i = 0; i < 100; ++i) steps.push_back({{"type", "NFC"}});
                             d["normalizer"] = {{"type", "Sequence"}, {"normalizers", steps}};
                           }),
                      unsupported, "more than 64 steps");
}

TEST(HostileText, LongRunsAreEncodedQuickly) {
  // A quadratic step would take minutes here.
  for (const char* family : {"gpt2", "llama3", "mistral", "smollm2"}) {
    const Tokenizer t = parse_tokenizer_json(read_file(kFixtures + family + "/tokenizer.json"), family);
    for (const std::string& text :
         {std::string(200000, 'a'), std::string(200000, ' '), std::string(200000, '<'), std::string(200000, '\n')}) {
      EXPECT_EQ(t.decode(t.encode(text)), text);
    }
  }
}

TEST(Words, ByHandAreThoseOfTheExpressions) {
  const std::vector<std::string> pieces = {"'",
                                           "s",
                                           "S",
                                           "\xc5\xbf",
                                           "ll",
                                           "a",
                                           "Z",
                                           "\xc3\xa9",
                                           "1",
                                           "\xd9\xa1",
                                           "\xc2\xbd",
                                           " ",
                                           "  ",
                                           "\n",
                                           "\r",
                                           "\t",
                                           "\xc2\xa0",
                                           "\xe3\x80\x80",
                                           ".",
                                           "!",
                                           "_",
                                           "\xcc\x81",
                                           "\xe4\xbd\xa0",
                                           "\xf0\x9f\x98\x80",
                                           "\xef\xbf\xbf",
                                           "\xe2\x80\xa8",
                                           "\x1c"};
  Rng rng(3, Purpose::test);
  for (const WordPattern pattern : {WordPattern::gpt2, WordPattern::llama3, WordPattern::qwen2}) {
    const Regex regex(std::string(regex_of(pattern)), "test");
    for (int round = 0; round < 3000; ++round) {
      std::string text;
      for (int64_t n = rng.below(12); n >= 0; --n) {
        if (rng.below(4) > 0) {
          text += pieces[static_cast<size_t>(rng.below(static_cast<int64_t>(pieces.size())))];
        } else {
          auto c = static_cast<char32_t>(rng.below(0x110000));
          if (c < 0xD800 || c >= 0xE000) append_utf8(text, c);
        }
      }
      if (text.empty()) continue;
      std::vector<Match> words;
      for (size_t at = 0; at < text.size();) {
        const size_t n = next_word(pattern, std::string_view(text).substr(at));
        words.push_back({at, at + n});
        at += n;
      }
      ASSERT_EQ(words, regex.find_all(text)) << regex_of(pattern) << " on " << quote_text(text);
    }
  }
}

TEST(Expressions, AreReadAsOnigurumaReadsThem) {
  const auto words = [](const std::string& pattern, const std::string& text) {
    std::string out;
    for (const Match& m : Regex(pattern, "test").find_all(text)) out += text.substr(m.begin, m.end - m.begin) + "|";
    return out;
  };
  EXPECT_EQ(words("\\h+", "xyz 12ab"), "12ab|");           // hexadecimal digits
  EXPECT_EQ(words("a{2}+", "aaaaa"), "aaaa|");             // twice, again and again
  EXPECT_EQ(words("a{,2}b", "aab b"), "aab|b|");           // from 0
  EXPECT_EQ(words("^b", "a\nb"), "b|");                    // at every line
  EXPECT_EQ(words("(?m:a.b)", "a\nb"), "a\nb|");           // the point is for line ends, too
  EXPECT_EQ(words("(?i:'s)", "'\xc5\xbf"), "'\xc5\xbf|");  // of Unicode
  EXPECT_EQ(words("\\p{^L}+", "ab1!c"), "1!|");
  EXPECT_EQ(words("[\\P{L}]+", "ab1!c"), "1!|");
  EXPECT_EQ(words("\\s+", "a\xe2\x80\xa8\xc2\x85z"), "\xe2\x80\xa8\xc2\x85|");
  EXPECT_EQ(words("\\p{L}+", "\xf0\xb1\x8d\x90"), "\xf0\xb1\x8d\x90|");  // U+31350, younger than PCRE2 10.42
  EXPECT_EQ(words("x*", "axb"), "|x||");                                 // empty matches, none where the last one ended
}

}  // namespace
}  // namespace gradus::lm
