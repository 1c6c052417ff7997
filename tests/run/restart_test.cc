#include "gradus/run/restart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "gradus/run/checkpoint.h"
#include "tests/core/temporary_folder.h"

namespace gradus::run {
namespace {

using ::testing::ElementsAre;
using Words = std::vector<std::string>;

TEST(Restart, GoesOnFromACheckpointWhenThereIsOne) {
  const gradus::testing::TemporaryFolder folder;
  const std::string run = (folder / "run").string();
  save_checkpoint(folder / "run" / "checkpoints", Checkpoint{});
  EXPECT_THAT(words_to_restart({"train", "chain", "seed=3", "--out", run, "--json"}),
              ElementsAre("resume", run, "--json"));
  EXPECT_THAT(words_to_restart({"train", "chain", "--out=" + run, "--quiet"}), ElementsAre("resume", run, "--quiet"));
}

TEST(Restart, PutsARunWithoutCheckpointAside) {
  const gradus::testing::TemporaryFolder folder;
  const Words words = {"train", "chain", "--out", (folder / "run").string()};
  EXPECT_EQ(words_to_restart(words), words);
  std::filesystem::create_directories(folder / "run");
  EXPECT_EQ(words_to_restart(words), words);
  EXPECT_FALSE(std::filesystem::exists(folder / "run"));
  EXPECT_TRUE(std::filesystem::exists(folder / "run.failed-1"));
}

TEST(Restart, LeavesOtherCommandsAsTheyAre) {
  for (const Words& words :
       {Words{}, Words{"resume", "runs/a"}, Words{"train", "chain"}, Words{"train", "x", "--out"}}) {
    EXPECT_EQ(words_to_restart(words), words);
  }
}

}  // namespace
}  // namespace gradus::run
