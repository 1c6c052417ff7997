#include "gradus/core/error.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/core/expect_error.h"

namespace gradus {
namespace {

TEST(Error, CarriesCodeAndFormattedMessage) {
  EXPECT_GRADUS_ERROR(fail(ErrorCode::exhausted, "tensor: no memory for {} bytes", 7), exhausted,
                      "tensor: no memory for 7 bytes");
}

TEST(Error, RequireThrowsOnlyWhenTheConditionFails) {
  EXPECT_NO_THROW(require(true, "never shown"));
  EXPECT_GRADUS_ERROR(require(false, "heads {} do not divide {}", 3, 8), invalid_argument, "heads 3 do not divide 8");
}

TEST(Error, EveryCodeHasItsOwnName) {
  std::set<std::string_view> names;
  for (int code = 0; code <= static_cast<int>(ErrorCode::interrupted); ++code)
    names.insert(name(static_cast<ErrorCode>(code)));
  EXPECT_EQ(names.size(), static_cast<size_t>(ErrorCode::interrupted) + 1);
  EXPECT_FALSE(names.contains("unknown"));
}

TEST(Check, BrokenInvariantIsAnInternalErrorThatNamesTheCondition) {
  const int two = 2;
  EXPECT_NO_THROW(GRADUS_CHECK(two == 2));
  try {
    GRADUS_CHECK(two == 3);
    FAIL();
  } catch (const InternalError& e) {
    EXPECT_THAT(e.what(), ::testing::HasSubstr("two == 3"));
    EXPECT_THAT(e.what(), ::testing::HasSubstr("error_test.cc"));
  }
}

}  // namespace
}  // namespace gradus
