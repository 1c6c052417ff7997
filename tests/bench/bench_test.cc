#include "bench/bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "bench/alternation.h"
#include "bench/exact_check.h"
#include "bench/flops.h"
#include "gradus/core/file.h"
#include "gradus/kernels/isa.h"

namespace gradus::bench {
namespace {

TEST(Flops, OneLayerCountedByHand) {
  const nn::TransformerConfig c{
      .layers = 1, .width = 8, .heads = 2, .kv_heads = 1, .head_size = 8, .ffn_width = 32, .n_vocab = 5};
  ForwardWork work;
  work.add_rows(2, 3);  // positions 2, 3, 4: they see 3 + 4 + 5 keys
  work.head_rows = 2;
  EXPECT_EQ(work.visible_keys, 12);
  const double q_and_o = 2 * 8 * 16, k_and_v = 2 * 8 * 8, ffn = 3 * 8 * 32;
  const double attention = 4 * 2 * 8 * 12, head = 2 * 5 * 8 * 2;
  EXPECT_EQ(forward_flops(c, work), 2 * 3 * (q_and_o + k_and_v + ffn) + attention + head);
}

TEST(Alternation, BodiesTakeTurns) {
  std::string order;
  Alternation rounds;
  rounds.add([&] { order += 'a'; });
  rounds.add([&] { order += 'b'; }, 2);
  rounds.run(2);
  EXPECT_EQ(order,
            "ab"
            "abb"
            "abb");  // the first round does not count
}

TEST(ExactTotals, OneBadFigureFailsAll) {
  ExactTotals t;
  EXPECT_FALSE(t.ok());  // nothing checked yet
  t.add_mismatch(0);
  t.add_control(1e-7);
  EXPECT_TRUE(t.ok());
  ExactTotals blind = t;
  blind.add_control(0);
  EXPECT_FALSE(blind.ok());
  ExactTotals different = t;
  different.add_mismatch(1e-7);
  different.add_mismatch(0);
  EXPECT_FALSE(different.ok());
  ExactTotals not_a_number = t;
  not_a_number.add_mismatch(std::nan(""));
  not_a_number.add_mismatch(0);
  EXPECT_FALSE(not_a_number.ok());
}

TEST(AttentionPictures, AreDrawnFromARowForEachLength) {
  const std::filesystem::path folder = testing::TempDir();
  std::vector<Row> rows;
  attention_pictures({.folder = folder, .lengths = {16, 100}, .rounds = 1},
                     [&](const Row& row) { rows.push_back(row); });
  EXPECT_EQ(rows.size(), 2U);
  for (const char* name : {"attention-time.svg", "attention-memory.svg", "attention-traffic.svg"}) {
    EXPECT_THAT(read_file(folder / name), testing::HasSubstr("tiles, backward")) << name;
  }
}

TEST(Motivation, IsDrawnFromARowForEachSetting) {
  const std::filesystem::path folder = testing::TempDir();
  std::vector<Row> rows;
  motivation({.folder = folder, .seeds = 2, .cartpole_steps = 40, .pendulum_steps = 10},
             [&](const Row& row) { rows.push_back(row); });
  EXPECT_EQ(rows.size(), 4U * 9 + 5);
  EXPECT_THAT(read_file(folder / "step-sizes.svg"), testing::HasSubstr("reinforce"));
  EXPECT_THAT(read_file(folder / "binned-actions.svg"), testing::HasSubstr("dqn, seconds"));
}

TEST(BenchExact, HoldsOnTheActiveInstructionSet) {
  std::vector<Row> rows;
  const std::string isa(name(kernels::active_isa()));
  EXPECT_TRUE(exact({.run = {}, .isa = isa}, [&](const Row& row) { rows.push_back(row); }));
  ASSERT_FALSE(rows.empty());
  const auto mismatch = std::ranges::find(rows.back(), "mismatch_max", &Row::value_type::first);
  ASSERT_NE(mismatch, rows.back().end());
  EXPECT_EQ(std::get<double>(mismatch->second), 0.0);
}

}  // namespace
}  // namespace gradus::bench
