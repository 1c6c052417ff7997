#include "gradus/core/json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/core/expect_error.h"

namespace gradus {
namespace {

TEST(ParseJson, AgreesWithTheLibraryOnValidText) {
  const std::string text =
      R"( {"a": [1, -2, 3.5e2, true, false, null, {}, [], {"b": [[]]}], "c": "\u00e9\n", "d": 18446744073709551615, "": 0} )";
  EXPECT_EQ(parse_json(text, "x"), nlohmann::json::parse(text));
  EXPECT_EQ(parse_json("3", "x"), 3);
}

TEST(ParseJson, NamesThePlaceOfTheFirstError) {
  EXPECT_GRADUS_ERROR(parse_json("{\n \"a\": 1,\n \"b\" 2}", "c.json"), corrupt,
                      "c.json: not valid JSON at line 3, column 6");
  EXPECT_GRADUS_ERROR(parse_json("", "c.json"), corrupt, "line 1, column 1");
  EXPECT_GRADUS_ERROR(parse_json("{} x", "c.json"), corrupt, "line 1, column 4");
  EXPECT_GRADUS_ERROR(parse_json("[1e999]", "c.json"), corrupt, "not valid JSON");
  EXPECT_GRADUS_ERROR(parse_json("\"\xff\"", "c.json"), corrupt, "not valid JSON");
  EXPECT_GRADUS_ERROR(parse_json("\"\\ud800\"", "c.json"), corrupt, "not valid JSON");
}

TEST(ParseJson, RefusesAKeyThatIsThereTwice) {
  EXPECT_GRADUS_ERROR(parse_json(R"({"a": 1, "b": {"a": 2}, "a": 3})", "x"), corrupt, "key \"a\" is there twice");
  EXPECT_NO_THROW(parse_json(R"({"a": {"a": 1}, "b": {"a": 2}})", "x"));
}

TEST(ParseJson, RefusesDeepNesting) {
  EXPECT_NO_THROW(parse_json("[[{\"a\": 1}]]", "x", 3));
  EXPECT_GRADUS_ERROR(parse_json("[[{\"a\": []}]]", "x", 3), corrupt, "deeper than 3 levels");
  EXPECT_GRADUS_ERROR(parse_json(std::string(1'000'000, '['), "x"), corrupt, "deeper than 64 levels");
}

TEST(QuoteText, IsOneShortLineOfAsciiWhateverItIsGiven) {
  EXPECT_EQ(quote_text("a\"b"), R"("a\"b")");
  EXPECT_EQ(quote_text("\n\x01\xff"), R"("\n\u0001\ufffd")");
  EXPECT_EQ(quote_text("\xc3\xa9"), R"("\u00e9")");
  EXPECT_EQ(quote_text(std::string(1000, 'a')).size(), 64 + 3 + 2u);
}

}  // namespace
}  // namespace gradus
