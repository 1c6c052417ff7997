// Ranks that are late, take messages in bits, stop or leave, over every transport of ours: results do not change, and
// failures end with an error within their deadline.
#include "gradus/comm/faulty_transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "gradus/comm/shm_transport.h"
#include "gradus/comm/tcp_transport.h"
#include "gradus/core/error.h"
#include "gradus/core/rng.h"
#include "gradus/kernels/combine.h"
#include "tests/comm/tcp_ranks.h"
#include "tests/comm/vectors.h"

namespace gradus::comm {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;

using FaultsOf = std::function<Faults(int rank)>;

// body(group) on each of P ranks over a transport of that name, made faulty.
std::vector<std::string> run_faulty(const std::string& transport, int P, const GroupOptions& options,
                                    const FaultsOf& faults, const std::function<void(Group&)>& body) {
  const ThreadWorld world(P);
  const auto segment = std::make_shared<const ShmSegment>(ShmSegment::create(P));
  const std::vector<Environment> all = environments(P);
  const auto make = [&](int r) {
    if (transport == "threads") return world.transport(r);
    if (transport == "shm") return shm_transport(segment, r);
    return tcp_transport(rendezvous(all[static_cast<size_t>(r)], {}), r, {.token = all[0].token});
  };
  return run_ranks(
      P, [&](int r) { return faulty_transport(make(r), faults(r)); }, options, body);
}

class FaultyRanks : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Over, FaultyRanks, ::testing::Values("threads", "shm", "tcp"),
                         [](const auto& name) { return std::string(name.param); });

TEST_P(FaultyRanks, LateRanksAndSmallPiecesChangeNoBit) {
  constexpr int64_t n = 20'011;
  for (const int P : {2, 3, 4}) {
    for (const char* algorithm : {"pairwise", "parameter-server", ""}) {
      GroupOptions options;
      if (*algorithm != '\0') options.forced[Operation::all_reduce] = algorithm;
      const std::vector<float> expected = serial_sum(P, n);
      for (const uint64_t seed : {1, 2}) {
        EXPECT_THAT(run_faulty(
                        GetParam(), P, options, [&](int) { return Faults{.seed = seed}; },
                        [&](Group& group) {
                          std::vector<float> x = vector_of(group.rank(), n);
                          group.all_reduce(std::span(x));
                          EXPECT_EQ(x, expected) << algorithm << ", seed " << seed;
                        }),
                    Each(""));
      }
    }
  }
}

void expect_failure_everywhere(const std::string& transport, Faults::End end, int64_t at_byte) {
  GroupOptions options{.timeout = milliseconds(150)};
  options.forced[Operation::all_reduce] = "ring";
  const auto begin = steady_clock::now();
  const std::vector<std::string> errors = run_faulty(
      transport, 3, options,
      [&](int r) { return r == 1 ? Faults{.seed = 3, .end = end, .at_byte = at_byte} : Faults{.seed = 3}; },
      [&](Group& group) {
        std::vector<float> x(300'000, 1);
        for (int i = 0; i < 3; ++i) group.all_reduce(std::span(x));
      });
  EXPECT_THAT(errors, Each(Not(""))) << transport << " at byte " << at_byte;
  EXPECT_LT(steady_clock::now() - begin, milliseconds(10'000));
}

TEST_P(FaultyRanks, ARankThatStopsEndsTheOthersAtTheDeadline) {
  for (const int64_t at_byte : {0, 400'000, 2'000'000}) {
    expect_failure_everywhere(GetParam(), Faults::End::before, at_byte);
  }
}

TEST_P(FaultyRanks, ARankThatStopsWithinAMessageDoesSo) {
  if (GetParam() == std::string("threads")) GTEST_SKIP() << "threads take a message at once";
  for (const int64_t at_byte : {1, 399'999, 2'000'001}) {
    expect_failure_everywhere(GetParam(), Faults::End::within, at_byte);
  }
}

TEST_P(FaultyRanks, ARankThatLeavesEndsTheOthers) {
  for (const int64_t at_byte : {0, 400'000, 2'000'000}) {
    expect_failure_everywhere(GetParam(), Faults::End::leave, at_byte);
  }
}

}  // namespace
}  // namespace gradus::comm
