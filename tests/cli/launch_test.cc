// `gradus launch` as a user types it; what happens to ranks is in tests/comm/launch_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "program.h"

namespace gradus::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Launch, RankZeroWritesAsIfAloneAndTheOthersBehindTheirNumber) {
  const Outcome alone = run_program({"list", "dtypes"});
  const Outcome o = run_program({"launch", "-n", "2", "--", "list", "dtypes"});
  EXPECT_EQ(o.exit_code, 0) << o.err;
  EXPECT_EQ(o.out, alone.out);
  EXPECT_THAT(o.err, HasSubstr("[rank 1] "));
}

TEST(Launch, OptionsBehindTheDashesAreTheCommands) {
  EXPECT_EQ(run_program({"launch", "-n", "1", "--", "list", "dtypes", "--json"}).out,
            run_program({"list", "dtypes", "--json"}).out);
}

TEST(Launch, WrongUsageOfTheCommandEndsAllWithItsCodeAndIsNotTriedAgain) {
  const Outcome o = run_program({"launch", "-n", "2", "--restarts", "3", "--", "no-such-command"});
  EXPECT_EQ(o.exit_code, 2);
  EXPECT_THAT(o.err, AllOf(HasSubstr("no-such-command"), HasSubstr("exit code 2"), Not(HasSubstr("again"))));
}

TEST(Launch, WhatCannotBeMeantIsWrongUsage) {
  for (const Words& words :
       {Words{"launch", "-n", "2"}, Words{"launch", "--", "list"}, Words{"launch", "-n", "0", "--", "list"},
        Words{"launch", "-n", "1", "--hosts", "a,b", "--", "list"},
        Words{"launch", "-n", "2", "--hosts", "-oProxyCommand=x", "--", "list"}}) {
    const Outcome o = run_program(words);
    EXPECT_EQ(o.exit_code, 2) << o.err;
  }
}

}  // namespace
}  // namespace gradus::cli
