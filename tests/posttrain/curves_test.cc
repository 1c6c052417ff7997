#include "gradus/posttrain/curves.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "gradus/core/error.h"
#include "gradus/core/file.h"
#include "gradus/run/database.h"
#include "tests/core/temporary_folder.h"

namespace gradus::posttrain {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

void add(const std::filesystem::path& folder, const std::vector<run::Metric>& metrics) {
  run::Database db(folder / "run.sqlite", run::Database::Mode::create);
  db.begin();
  for (const run::Metric& m : metrics) db.add(m);
  db.commit();
}

TEST(Curves, EachPhaseGetsAPicture) {
  const gradus::testing::TemporaryFolder folder;
  add(folder.path(), {{10, "sft", "loss", 2.0},
                      {20, "sft", "loss", 1.0},
                      {21, "k15", "reward_mean", 0.5},
                      {22, "k15", "reward_mean", 0.7}});
  EXPECT_THAT(write_curves(folder.path(), "chain/k15"), ElementsAre(folder / "curves.svg", folder / "warm-up.svg"));
  EXPECT_THAT(read_file(folder / "curves.svg"), HasSubstr("chain/k15: reinforcement learning"));
  EXPECT_THAT(read_file(folder / "warm-up.svg"), HasSubstr("chain/k15: supervised warm-up"));
}

TEST(Curves, PretrainingShowsBothLossesInBits) {
  const gradus::testing::TemporaryFolder folder;
  add(folder.path(),
      {{10, "pretrain", "loss", 2.0}, {20, "pretrain", "loss", 1.0}, {20, "pretrain", "held_out_bits_per_byte", 1.5}});
  EXPECT_THAT(write_curves(folder.path(), "text/pretrain"), ElementsAre(folder / "curves.svg"));
  const std::string svg = read_file(folder / "curves.svg");
  EXPECT_THAT(svg, HasSubstr("text/pretrain: next-token prediction"));
  EXPECT_THAT(svg, HasSubstr("held-out text"));
  EXPECT_THAT(svg, HasSubstr(">bits per byte<"));
}

TEST(Curves, APhaseThatWasNotHasNone) {
  const gradus::testing::TemporaryFolder folder;
  add(folder.path(), {{1, "k15", "reward_mean", 0.5}});
  EXPECT_THAT(write_curves(folder.path(), "chain/k15"), ElementsAre(folder / "curves.svg"));
}

TEST(Curves, IterationsCountFromOneAfterTheWarmUp) {
  const gradus::testing::TemporaryFolder folder;
  add(folder.path(), {{5001, "k15", "reward_mean", 0.5}, {5002, "k15", "reward_mean", 0.7}});
  write_curves(folder.path(), "chain/k15");
  const std::string svg = read_file(folder / "curves.svg");
  EXPECT_THAT(svg, HasSubstr(">2</text>"));
  EXPECT_THAT(svg, Not(HasSubstr("5002")));
}

TEST(Curves, ATaskWithoutStylesHasNoShareOfLongAnswers) {
  const gradus::testing::TemporaryFolder folder;
  add(folder.path(), {{1, "k15", "reward_mean", 0.5},
                      {1, "k15", "long_share", std::nan("")},
                      {1, "k15", "response_tokens_mean", 7.0}});
  write_curves(folder.path(), "jsonl/k15");
  const std::string svg = read_file(folder / "curves.svg");
  EXPECT_THAT(svg, Not(HasSubstr("long answers")));
  EXPECT_THAT(svg, HasSubstr("answer length"));
}

TEST(Curves, WithoutADatabaseThereIsNothingToDraw) {
  const gradus::testing::TemporaryFolder folder;
  EXPECT_THROW(write_curves(folder.path(), "chain/k15"), Error);
  EXPECT_FALSE(std::filesystem::exists(folder / "curves.svg"));
}

}  // namespace
}  // namespace gradus::posttrain
