// What a rank leaves in files for those who look from outside.
#include "gradus/comm/monitor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "gradus/core/file.h"
#include "gradus/core/json.h"
#include "tests/comm/ranks.h"
#include "tests/core/temporary_folder.h"

namespace gradus::comm {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

TEST(Monitor, SaysWhatEachRankDidLast) {
  const testing::TemporaryFolder folder;
  EXPECT_THAT(run_threads(2, {},
                          [&](Group& group) {
                            const Monitor monitor(group, {.folder = folder / "comm", .restarts = 3});
                            group.barrier();
                          }),
              Each(""));
  for (int r = 0; r < 2; ++r) {
    const nlohmann::json j = try_parse_json(read_file(folder / "comm" / fmt::format("rank-{}.json", r)));
    EXPECT_EQ(j["rank"], r);
    EXPECT_EQ(j["state"], "left");
    EXPECT_EQ(j["sequence"], 1);
    EXPECT_EQ(j["in_flight"], false);
    EXPECT_EQ(j["restarts"], 3);
    EXPECT_THAT(j["call"].get<std::string>(), HasSubstr("monitor_test.cc"));
  }
}

TEST(Monitor, WritesTheFlightRecorderOfAGroupThatFails) {
  const testing::TemporaryFolder folder;
  EXPECT_THAT(run_threads(2, {},
                          [&](Group& group) {
                            Monitor monitor(group);
                            monitor.write_to(folder.path());
                            group.barrier();
                            if (group.rank() == 1) group.abort(Error(ErrorCode::io, "the disk is full"));
                            if (group.rank() == 1) throw *group.transport().aborted();
                            group.barrier();
                          }),
              Each(HasSubstr("the disk is full")));
  for (int r = 0; r < 2; ++r) {
    const std::string lines = read_file(folder / fmt::format("rank-{}.jsonl", r));
    EXPECT_EQ(try_parse_json(lines.substr(0, lines.find('\n')))["operation"], "barrier");
    const nlohmann::json j = try_parse_json(read_file(folder / fmt::format("rank-{}.json", r)));
    EXPECT_EQ(j["state"], "failed");
    EXPECT_THAT(j["error"].get<std::string>(), HasSubstr("the disk is full"));
  }
}

}  // namespace
}  // namespace gradus::comm
