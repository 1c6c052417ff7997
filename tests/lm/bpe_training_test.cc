#include "gradus/lm/tokenizer/bpe_training.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "gradus/core/file.h"
#include "gradus/core/json.h"
#include "tests/core/expect_error.h"

namespace gradus::lm {
namespace {

using nlohmann::json;

const std::string kFixtures = std::string(GRADUS_SOURCE_DIR) + "/tests/fixtures/tokenizer/";

std::string training_text() {
  std::string text;
  for (const json& line : parse_json(read_file(kFixtures + "texts.json"), "texts.json")) {
    text += (text.empty() ? "" : "\n") + line.get<std::string>();
  }
  return text;
}

// The fixture is what the `tokenizers` package learns (tools/oracle/make_tokenizer_fixture.py); the texts have many
// pairs of equal counts.
TEST(BpeTraining, LearnsWhatTheTokenizersPackageLearns) {
  const json expected = parse_json(read_file(kFixtures + "training.json"), "training.json");
  for (const char* style : {"gpt2", "llama3", "qwen2"}) {
    WordCounter counter(bpe_style_from_name(style));
    counter.add(training_text());
    const Tokenizer t = train_bpe(counter, {.n_vocab = 600, .style = bpe_style_from_name(style)});
    const json model = parse_json(tokenizer_json(t), "trained")["model"];
    EXPECT_EQ(model["merges"], expected[style]["merges"]) << style;
    std::vector<std::string> vocab(model["vocab"].size());
    for (const auto& [token, id] : model["vocab"].items()) vocab.at(id.get<size_t>()) = token;
    EXPECT_EQ(json(vocab), expected[style]["vocab"]) << style;
    EXPECT_EQ(t.n_vocab(), 600);
    const std::string text = "It's 2026, \xe4\xbd\xa0\xe5\xa5\xbd <|endoftext|>";
    EXPECT_EQ(t.decode(t.encode(text)), text);
  }
}

TEST(BpeTraining, TheOrderOfLinesDoesNotMatter) {
  WordCounter there(BpeStyle::gpt2), back(BpeStyle::gpt2);
  for (const char* line : {"ab ab abc\n", "cab cab\n", "bca\n"}) there.add(line);
  for (const char* line : {"bca\n", "cab cab\n", "ab ab abc\n"}) back.add(line);
  EXPECT_EQ(tokenizer_json(train_bpe(there, {.n_vocab = 265})), tokenizer_json(train_bpe(back, {.n_vocab = 265})));
}

TEST(BpeTraining, StopsWhereTextHasNoMorePairsOrPairsAreTooRare) {
  WordCounter counter(BpeStyle::gpt2);
  counter.add("abab abab cd");
  EXPECT_EQ(train_bpe(counter, {.n_vocab = 5000}).n_vocab(), 257 + 5);  // ab, abab, " abab", cd, " cd"
  EXPECT_EQ(train_bpe(counter, {.n_vocab = 5000, .min_frequency = 2}).n_vocab(), 257 + 2);
}

TEST(BpeTraining, PassesOverLinesThatAreNotUtf8) {
  WordCounter counter(BpeStyle::qwen2);
  counter.add("good\nb\xff\x64\nfine");
  EXPECT_EQ(counter.n_skipped_lines(), 1);
  EXPECT_EQ(counter.n_bytes(), 9);
}

TEST(BpeTraining, RefusesWhatCannotBe) {
  WordCounter counter(BpeStyle::llama3);
  EXPECT_GRADUS_ERROR(train_bpe(counter, {.style = BpeStyle::llama3}), invalid_argument, "no words");
  counter.add("a");
  EXPECT_GRADUS_ERROR(train_bpe(counter, {.n_vocab = 260, .style = BpeStyle::llama3}), invalid_argument,
                      "260 tokens; 261 are the least");
  EXPECT_GRADUS_ERROR(bpe_style_from_name("bert"), invalid_argument, "gpt2, llama3 and qwen2");
  WordCounter text(BpeStyle::gpt2);
  text.add(training_text());
  EXPECT_GRADUS_ERROR(train_bpe(text, {.n_vocab = 600}, [] { return true; }), interrupted, "after 64 merges");
}

}  // namespace
}  // namespace gradus::lm
