// `gradus launch` as a user types it; what happens to ranks is in tests/comm/launch_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "gradus/comm/socket.h"
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

// ---- `gradus bench allreduce` as the ranks of a job ----

Words bench_as_ranks(const Words& more) {
  Words words = {"launch", "-n", "2", "--", "bench", "allreduce", "--json", "--bytes", "8", "--rounds", "1"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST(BenchAsRanks, RankZeroAlonePrintsWhatAllOfThemMeasured) {
  const Outcome o = run_program(bench_as_ranks({"--transport", "tcp", "--algorithm", "ring", "--ranks", "2"}));
  EXPECT_EQ(o.exit_code, 0) << o.err;
  EXPECT_EQ(std::ranges::count(o.out, '\n'), 1) << o.out;
  EXPECT_THAT(o.out, AllOf(HasSubstr("\"transport\":\"tcp\""), HasSubstr("\"ranks\":2"), HasSubstr("\"wrong\":0")));
  EXPECT_THAT(o.err, Not(HasSubstr("algorithm")));
}

TEST(BenchAsRanks, RefusesWhatTheJobIsNot) {
  for (const auto& [more, part] : {std::pair{Words{"--ranks", "3"}, "--ranks 3, but this is a rank of 2"},
                                   {{"--transport", "threads"}, "threads are ranks of one process"},
                                   {{"--trace"}, "--trace and --pictures start ranks of their own"}}) {
    const Outcome o = run_program(bench_as_ranks(more));
    EXPECT_EQ(o.exit_code, 2) << o.err;
    EXPECT_EQ(o.out, "");
    EXPECT_THAT(o.err, HasSubstr(part));
  }
}

TEST(BenchAsRanks, RefusesATransportBesideTheLaunchersOwn) {
  const Outcome o = run_program(
      {"launch", "-n", "2", "--transport", "shm", "--", "bench", "allreduce", "--bytes", "8", "--transport", "tcp"});
  EXPECT_EQ(o.exit_code, 2) << o.err;
  EXPECT_THAT(o.err, HasSubstr("tcp is to be the transport, but GRADUS_TRANSPORT is shm"));
}

// `gradus bench allreduce --bytes BYTES` as a rank of two that meet at this port.
Program start_rank(const char* rank, int port, const std::string& bytes) {
  const std::map<std::string, std::string> variables = {
      {"RANK", rank}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "127.0.0.1"}, {"MASTER_PORT", std::to_string(port)}};
  for (const auto& [name, value] : variables) ::setenv(name.c_str(), value.c_str(), 1);
  return Program({"bench", "allreduce", "--bytes", bytes, "--rounds", "1"});
}

TEST(BenchAsRanks, RanksThatDisagreeBothSayWhatEachWasTold) {
  const int port = comm::free_port("127.0.0.1");
  Program first = start_rank("0", port, "8"), second = start_rank("1", port, "16");
  for (const char* name : {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}) ::unsetenv(name);
  for (Program* const program : {&first, &second}) {
    const Outcome o = program->wait();
    EXPECT_EQ(o.exit_code, 2) << o.err;
    EXPECT_EQ(o.out, "");
    EXPECT_THAT(o.err, AllOf(HasSubstr("at 8 bytes"), HasSubstr("at 16 bytes"), HasSubstr("rank 1")));
  }
}

}  // namespace
}  // namespace gradus::cli
