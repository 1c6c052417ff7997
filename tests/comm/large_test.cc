// Vectors of more than 2^31 bytes, which no int can count. They take gigabytes and half a minute: `ctest -C large -L
// large`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/comm/tcp_ranks.h"

namespace gradus::comm {
namespace {

constexpr int64_t kBytes = (int64_t{1} << 31) + 4099;

void expect_sums(Group& group) {
  std::vector<uint8_t> x(static_cast<size_t>(kBytes));
  for (int64_t i = 0; i < kBytes; ++i) x[static_cast<size_t>(i)] = static_cast<uint8_t>(i * (group.rank() + 1) >> 3);
  group.all_reduce(std::span(x));
  int64_t wrong = 0;
  for (int64_t i = 0; i < kBytes; ++i) {
    uint8_t sum = 0;
    for (int r = 0; r < group.size(); ++r) sum = static_cast<uint8_t>(sum + (i * (r + 1) >> 3));
    wrong += x[static_cast<size_t>(i)] != sum;
  }
  EXPECT_EQ(wrong, 0) << group.transport_name();
}

TEST(LargeVectors, DISABLED_AreReducedByThreads) {
  for (const std::string algorithm : {"slices", "ring"}) {
    EXPECT_THAT(run_threads(2, {.forced = {{Operation::all_reduce, algorithm}}}, expect_sums), testing::Each(""));
  }
}

TEST(LargeVectors, DISABLED_AreReducedInSharedMemory) {
  for (const std::string algorithm : {"two-shot", "ring"}) {
    EXPECT_THAT(run_connected(2, {.forced = {{Operation::all_reduce, algorithm}}}, {.transport = "shm"}, expect_sums),
                testing::Each(""));
  }
}

TEST(LargeVectors, DISABLED_AreReducedOverTcp) {
  EXPECT_THAT(run_tcp(2, {.forced = {{Operation::all_reduce, "ring"}}}, expect_sums), testing::Each(""));
}

}  // namespace
}  // namespace gradus::comm
