// What processes learn from the variables that launchers set.
#include "gradus/comm/environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "gradus/core/error.h"

namespace gradus::comm {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Variables = std::map<std::string, std::string>;

Environment read(const Variables& variables) {
  return read_environment([&](const char* name) -> const char* {
    const auto v = variables.find(name);
    return v == variables.end() ? nullptr : v->second.c_str();
  });
}

std::string error_of(const Variables& variables) {
  try {
    read(variables);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
    return e.what();
  }
  return "";
}

TEST(Environment, NobodyLaunchedIsOneRank) {
  const Environment e = read({});
  EXPECT_EQ(e.launcher, "");
  EXPECT_EQ(e.rank, 0);
  EXPECT_EQ(e.size, 1);
}

TEST(Environment, OurVariablesAreThoseOfTorchrun) {
  const Environment e = read({{"RANK", "3"},
                              {"WORLD_SIZE", "8"},
                              {"LOCAL_RANK", "1"},
                              {"LOCAL_WORLD_SIZE", "2"},
                              {"MASTER_ADDR", "10.0.0.1"},
                              {"MASTER_PORT", "29500"},
                              {"GRADUS_JOB_TOKEN", "secret"},
                              {"GRADUS_IFACE", "eth1"},
                              {"GRADUS_TIMEOUT_S", "30"},
                              {"GRADUS_RESTART", "2"}});
  EXPECT_EQ(e.launcher, "variables");
  EXPECT_EQ(e.rank, 3);
  EXPECT_EQ(e.size, 8);
  EXPECT_EQ(e.local_rank, 1);
  EXPECT_EQ(e.local_size, 2);
  EXPECT_EQ(e.master_address, "10.0.0.1");
  EXPECT_EQ(e.master_port, 29500);
  EXPECT_EQ(e.token, "secret");
  EXPECT_EQ(e.interface, "eth1");
  EXPECT_EQ(e.timeout, std::chrono::seconds(30));
  EXPECT_EQ(e.restarts, 2);
}

TEST(Environment, WhatALauncherWritesIsReadAgain) {
  const Environment e{.rank = 3,
                      .size = 8,
                      .local_rank = 1,
                      .local_size = 2,
                      .master_address = "fd00::1",
                      .master_port = 29500,
                      .interface = "^docker0",
                      .restarts = 4,
                      .timeout = std::chrono::seconds(90)};
  Variables variables;
  for (const std::string& v : to_variables(e)) {
    const size_t equals = v.find('=');
    variables[v.substr(0, equals)] = v.substr(equals + 1);
    EXPECT_TRUE(is_launcher_variable(v.substr(0, equals))) << v;
  }
  EXPECT_EQ(to_variables(read(variables)), to_variables(e));
}

TEST(Environment, RanksOfMpirunOnOneHostMeetOnLoopback) {
  const Environment e = read({{"OMPI_COMM_WORLD_RANK", "1"},
                              {"OMPI_COMM_WORLD_SIZE", "2"},
                              {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                              {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                              {"PMIX_NAMESPACE", "1234"}});
  EXPECT_EQ(e.launcher, "Open MPI");
  EXPECT_EQ(e.rank, 1);
  EXPECT_EQ(e.master_address, "127.0.0.1");
  EXPECT_GE(e.master_port, 20000);
}

TEST(Environment, SlurmsFirstHostIsWhereRanksMeet) {
  const Variables step = {{"SLURM_JOB_ID", "77"}, {"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "5"},
                          {"SLURM_NTASKS", "6"},  {"SLURM_LOCALID", "1"}, {"SLURM_NODELIST", "node[03-05,9],other"}};
  const Environment e = read(step);
  EXPECT_EQ(e.launcher, "Slurm");
  EXPECT_EQ(e.rank, 5);
  EXPECT_EQ(e.local_rank, 1);
  EXPECT_EQ(e.master_address, "node03");
  Variables other_rank = step;
  other_rank["SLURM_PROCID"] = "0";
  other_rank["SLURM_LOCALID"] = "0";
  EXPECT_EQ(read(other_rank).master_port, e.master_port);
}

TEST(Environment, SlurmsBatchScriptIsNoRank) {
  EXPECT_EQ(read({{"SLURM_JOB_ID", "77"}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "6"}}).size, 1);
}

TEST(Environment, SlurmsNumbersGiveWayToThoseOfTheLauncherItStarted) {
  const Environment e = read(
      {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "2"}, {"OMPI_COMM_WORLD_RANK", "7"}, {"OMPI_COMM_WORLD_SIZE", "8"}});
  EXPECT_EQ(e.rank, 7);
  EXPECT_EQ(e.size, 8);
}

TEST(Environment, ContradictionsNameVariablesAndValues) {
  EXPECT_THAT(error_of({{"RANK", "4"}, {"WORLD_SIZE", "4"}}), AllOf(HasSubstr("RANK=4"), HasSubstr("WORLD_SIZE=4")));
  EXPECT_THAT(error_of({{"RANK", "4"}}), AllOf(HasSubstr("RANK=4"), HasSubstr("WORLD_SIZE")));
  EXPECT_THAT(error_of({{"RANK", "one"}, {"WORLD_SIZE", "4"}}), HasSubstr("RANK=one"));
  EXPECT_THAT(error_of({{"RANK", "1"}, {"WORLD_SIZE", "2"}}), HasSubstr("MASTER_ADDR"));
  EXPECT_THAT(error_of({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}}), HasSubstr("MASTER_PORT"));
  EXPECT_THAT(error_of({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "70000"}}),
              HasSubstr("MASTER_PORT=70000"));
  EXPECT_THAT(
      error_of({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "2"}}),
      AllOf(HasSubstr("RANK=1"), HasSubstr("OMPI_COMM_WORLD_RANK=0")));
}

}  // namespace
}  // namespace gradus::comm
