#include "gradus/comm/inspect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "gradus/comm/rendezvous.h"
#include "gradus/core/file.h"
#include "tests/run/errors.h"
#include "tests/run/temp_folder.h"

namespace gradus::comm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

void report(const std::filesystem::path& run, int rank, pid_t pid, const std::string& state, int sequence,
            bool in_flight, double since) {
  std::filesystem::create_directories(run / "comm");
  write_file_atomically(
      run / "comm" / fmt::format("rank-{}.json", rank),
      fmt::format(
          R"({{"rank":{},"size":3,"pid":{},"host":"{}","transport":"shm","restarts":1,"state":"{}","sequence":{},)"
          R"("in_flight":{},"call":"barrier, call {} at x.cc:1","algorithm":"ring","since":{}}})",
          rank, pid, host_name(), state, sequence, in_flight, sequence, since));
}

TEST(RanksOfRun, AreSortedAndThoseThatAreNoMoreAreGone) {
  const run::TempFolder folder;
  report(folder.path(), 1, 1 << 30, "running", 7, true, 100);  // there is no such process
  report(folder.path(), 0, 1 << 30, "left", 9, false, 100);
  const std::vector<RankReport> ranks = ranks_of_run(folder.path());
  ASSERT_EQ(ranks.size(), 2u);
  EXPECT_EQ(ranks[0].state, "left");
  EXPECT_EQ(ranks[1].state, "gone");
  EXPECT_EQ(ranks[1].sequence, 7u);
  EXPECT_EQ(ranks[1].restarts, 1);
}

TEST(RanksOfRun, ARunOfOneRankSaysHowToStartSeveral) {
  const run::TempFolder folder;
  const run::Thrown e = run::error_of([&] { ranks_of_run(folder.path()); });
  EXPECT_EQ(e.code, ErrorCode::not_found);
  EXPECT_THAT(e.message, HasSubstr("gradus launch"));
}

TEST(RanksOfRun, ADamagedReportIsNamed) {
  const run::TempFolder folder;
  std::filesystem::create_directories(folder.path() / "comm");
  write_file_atomically(folder.path() / "comm" / "rank-0.json", R"({"rank": "zero"})");
  const run::Thrown e = run::error_of([&] { ranks_of_run(folder.path()); });
  EXPECT_EQ(e.code, ErrorCode::corrupt);
  EXPECT_THAT(e.message, HasSubstr("rank-0.json"));
}

TEST(MissingRanks, AreThoseBehindACallThatOthersWaitIn) {
  const auto rank = [](int r, uint64_t sequence, bool in_flight, double since_s) {
    RankReport report;
    report.rank = r, report.sequence = sequence, report.in_flight = in_flight, report.since_s = since_s;
    return report;
  };
  EXPECT_THAT(missing_ranks({rank(0, 8, true, 10), rank(1, 7, false, 5), rank(2, 8, true, 10)}, 20), ElementsAre(1));
  EXPECT_THAT(missing_ranks({rank(0, 8, true, 19), rank(1, 7, false, 19)}, 20), IsEmpty());  // it may be on its way
  EXPECT_THAT(missing_ranks({rank(0, 8, true, 10), rank(1, 8, true, 10)}, 20), IsEmpty());
}

}  // namespace
}  // namespace gradus::comm
