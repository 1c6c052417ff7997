#include "gradus/posttrain/reward.h"

#include <gtest/gtest.h>

namespace gradus::posttrain {
namespace {

TEST(AnswersMatch, FollowsTheTable) {
  struct Row {
    const char* given;
    const char* reference;
    bool match;
  };
  const Row rows[] = {
      {"42", "42", true},
      {" 42\n", "42", true},
      {"x = 4", "x = 4", true},
      {"Paris", "paris", false},
      {"", "", true},
      {"", "0", false},
      {"42.0", "42", true},
      {"42.", "42", true},
      {".5", "0.5", true},
      {"+7", "7", true},
      {"007", "7", true},
      {"-0", "0", true},
      {"--7", "7", false},
      {"-+7", "-7", false},
      {"7-", "7", false},
      {"1,000", "1000", true},
      {"1,234,567.50", "1234567.5", true},
      {"1,00", "100", false},
      {"1,0000", "10000", false},
      {",100", "100", false},
      {"1000,", "1000", false},
      {"1,000,", "1000", false},
      {"1234,567", "1234567", false},
      {"1/2", "0.5", true},
      {"2/4", "1/2", true},
      {"-1 / 3", "-0.33333333", true},
      {"1/3", "0.333", false},
      {"1/0", "1/0", true},  // equal as text
      {"1/0", "0", false},
      {"1/2/2", "0.25", false},
      {"1e3", "1000", true},
      {"1e999", "1e998", false},
      {"inf", "nan", false},
      {"nan", "0", false},
      {"0x10", "16", false},
      {"7 apples", "7", false},
      {"12345678", "12345679", false},  // whole numbers are exact
      {"123456789012345678901234567890", "123456789012345678901234567891", false},
      {"123456789012345678901234567890", "123,456,789,012,345,678,901,234,567,890", true},
      {"3.1415926", "3.1415927", true},
      {"3.14", "3.15", false},
      {"0", "1e-9", false},
      {"-5", "5", false},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(answers_match(row.given, row.reference), row.match) << row.given << " ? " << row.reference;
    EXPECT_EQ(answers_match(row.reference, row.given), row.match) << row.reference << " ? " << row.given;
  }
}

TEST(TextAfterMark, IsWhatFollowsTheLastOne) {
  EXPECT_EQ(text_after_mark("1+1=2 2+3=5", "="), "5");
  EXPECT_EQ(text_after_mark("so\n#### 5", "####"), " 5");
  EXPECT_EQ(text_after_mark("5=", "="), "");
  EXPECT_EQ(text_after_mark("5", "="), std::nullopt);
  EXPECT_EQ(text_after_mark("5", ""), "5");
}

}  // namespace
}  // namespace gradus::posttrain
