// Whole jobs: this very program, launched as ranks that are processes, some of which are killed or stopped.
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "gradus/comm/connect.h"
#include "gradus/comm/launch.h"
#include "gradus/comm/monitor.h"
#include "gradus/core/error.h"
#include "gradus/core/file.h"
#include "gradus/core/json.h"
#include "tests/core/temporary_folder.h"

namespace gradus::comm {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::Contains;
using ::testing::HasSubstr;

constexpr int kVictim = 1, kSteps = 200, kLastStep = 50;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

// What a launched rank does. It ends with 1 when the group fails.
void work_as_rank() {
  const Environment environment = read_environment();
  const ConnectOptions how{.transport = variable("GRADUS_TEST_TRANSPORT"), .lost_after = milliseconds(1'000)};
  const std::unique_ptr<Group> group = connect(environment, {}, how);
  const Monitor monitor(*group, {.folder = variable("GRADUS_TEST_FOLDER"), .restarts = environment.restarts});
  const std::string fault = environment.restarts == 0 ? variable("GRADUS_TEST_FAULT") : "";
  std::vector<float> x(10'000);
  for (int step = 0; step < kSteps; ++step) {
    std::fill(x.begin(), x.end(), 1.0f);
    group->all_reduce(std::span(x));
    if (x[9'999] != static_cast<float>(group->size())) ::_exit(3);
    if (group->rank() != kVictim || step != kLastStep) continue;
    if (fault == "kill") ::raise(SIGKILL);
    if (fault == "stop") ::raise(SIGSTOP);
  }
}

TEST(LaunchedRank, DISABLED_Works) {
  try {
    work_as_rank();
  } catch (const Error& e) {
    fmt::print(stderr, "{}\n", e.what());  // in the monitor's file too, but for an error before there is a monitor
    ::_exit(1);
  }
}

struct Fault {
  const char* transport;
  const char* fault;
};

class LaunchedJob : public ::testing::TestWithParam<Fault> {
 protected:
  int run(int restarts) {
    ::setenv("GRADUS_TEST_TRANSPORT", GetParam().transport, 1);
    ::setenv("GRADUS_TEST_FAULT", GetParam().fault, 1);
    ::setenv("GRADUS_TEST_FOLDER", folder_.path().c_str(), 1);
    return launch({.n_ranks = 3,
                   .restarts = restarts,
                   .program = std::filesystem::read_symlink("/proc/self/exe").string(),
                   .grace = milliseconds(1'500),
                   .arguments =
                       [](int) {
                         return std::vector<std::string>{"--gtest_filter=LaunchedRank.DISABLED_Works",
                                                         "--gtest_also_run_disabled_tests", "--gtest_brief=1"};
                       },
                   .show = [&](const std::string& line) { lines_.push_back(line); }});
  }
  nlohmann::json status_of(int rank) { return try_parse_json(read_file(folder_ / fmt::format("rank-{}.json", rank))); }

  gradus::testing::TemporaryFolder folder_;
  std::vector<std::string> lines_;
};
INSTANTIATE_TEST_SUITE_P(Over, LaunchedJob,
                         ::testing::Values(Fault{"shm", "kill"}, Fault{"shm", "stop"}, Fault{"tcp", "kill"},
                                           Fault{"tcp", "stop"}),
                         [](const auto& f) { return fmt::format("{}_{}", f.param.transport, f.param.fault); });

TEST_P(LaunchedJob, ALostRankIsNamedByTheOthers) {
  EXPECT_NE(run(0), 0);
  SCOPED_TRACE(fmt::format("{}", fmt::join(lines_, "\n")));
  for (const int r : {0, 2}) {
    ASSERT_TRUE(std::filesystem::exists(folder_ / fmt::format("rank-{}.json", r))) << "no monitor on rank " << r;
    EXPECT_EQ(status_of(r)["state"], "failed");
    EXPECT_THAT(status_of(r)["error"].get<std::string>(), HasSubstr("rank 1"));
    const std::string recorder = read_file(folder_ / fmt::format("rank-{}.jsonl", r));
    EXPECT_THAT(recorder, HasSubstr("\"operation\":\"all_reduce\""));
  }
  EXPECT_THAT(lines_, Contains(HasSubstr("rank")));
}

TEST_P(LaunchedJob, StartsAgainAndEnds) {
  if (GetParam().fault == std::string("stop")) GTEST_SKIP() << "it is the same once the rank is lost";
  EXPECT_EQ(run(1), 0) << fmt::format("{}", fmt::join(lines_, "\n"));
  EXPECT_THAT(lines_, Contains(HasSubstr("starting again, 1 of 1")));
  for (int r = 0; r < 3; ++r) {
    EXPECT_EQ(status_of(r)["state"], "left");
    EXPECT_EQ(status_of(r)["restarts"], 1);
    EXPECT_EQ(status_of(r)["sequence"], kSteps);
  }
}

}  // namespace
}  // namespace gradus::comm
