// EXPECT_GRADUS_ERROR(statement, code, "part of the message"): the statement throws gradus::Error with this code, and
// its one-line message contains the part.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gradus/core/error.h"

#define EXPECT_GRADUS_ERROR(statement, expected_code, part)                        \
  do {                                                                             \
    try {                                                                          \
      statement;                                                                   \
      ADD_FAILURE() << #statement " did not throw";                                \
    } catch (const ::gradus::Error& error) {                                       \
      EXPECT_EQ(error.code(), ::gradus::ErrorCode::expected_code) << error.what(); \
      EXPECT_THAT(error.what(), ::testing::HasSubstr(part));                       \
      EXPECT_THAT(error.what(), ::testing::Not(::testing::HasSubstr("\n")));       \
    }                                                                              \
  } while (false)
