// From the environment to a group over shared memory, TCP, or both.
#include "gradus/comm/connect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "gradus/comm/mixed_transport.h"
#include "gradus/comm/shm_sharing.h"
#include "gradus/comm/shm_transport.h"
#include "gradus/comm/tcp_transport.h"
#include "gradus/core/error.h"
#include "tests/comm/tcp_ranks.h"

namespace gradus::comm {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;

void expect_sums(Group& group) {
  const int P = group.size();
  for (const int64_t n : {0, 1, P + 1, 1009, 70'001}) {
    std::vector<int32_t> x(static_cast<size_t>(n));
    std::iota(x.begin(), x.end(), group.rank());
    group.all_reduce(std::span(x));
    for (int64_t i = 0; i < n; ++i) ASSERT_EQ(x[static_cast<size_t>(i)], P * i + P * (P - 1) / 2);
  }
  group.barrier();
}

TEST(Connect, OneRankMeetsNobody) {
  const std::unique_ptr<Group> group = connect(Environment{});
  EXPECT_EQ(group->size(), 1);
  expect_sums(*group);
}

TEST(Connect, RanksOfOneHostShareMemory) {
  for (const int P : {2, 3, 5}) {
    EXPECT_THAT(run_connected(P, {}, {},
                              [](Group& group) {
                                EXPECT_EQ(group.transport_name(), "shm");
                                expect_sums(group);
                              }),
                Each(""));
  }
}

TEST(Connect, AnUnknownTransportIsNamed) {
  EXPECT_THROW(connect(Environment{}, {}, {.transport = "pigeon"}), Error);
}

TEST(SharedMemory, IsRefusedToWhoDoesNotKnowTheToken) {
  std::vector<Peer> peers(2);
  for (int r = 0; r < 2; ++r) peers[static_cast<size_t>(r)] = {.rank = r, .size = 2, .pid = 1, .host_id = "here"};
  const auto begin = steady_clock::now();
  const std::vector<std::string> errors =
      run_each(2, [&](int r) { share_memory(peers, r, r == 0 ? "a token" : "a guess", milliseconds(200)); });
  EXPECT_THAT(errors[0], AllOf(HasSubstr("rank 1"), HasSubstr("did not come")));
  EXPECT_THAT(errors[1], AllOf(HasSubstr("rank 0"), HasSubstr("did not offer")));
  EXPECT_LT(steady_clock::now() - begin, milliseconds(10'000));
}

// `hosts` hosts of equally many ranks, all of them threads here, which reach the other hosts over loopback.
std::vector<std::string> run_hosts(int P, int hosts, GroupOptions options, const std::function<void(Group&)>& body) {
  const std::vector<Environment> all = environments(P);
  std::vector<std::shared_ptr<const ShmSegment>> segments;
  for (int h = 0; h < hosts; ++h) segments.push_back(std::make_shared<const ShmSegment>(ShmSegment::create(P)));
  for (int r = 0; r < P; ++r) options.host_of.push_back(r * hosts / P);
  return run_each(P, [&](int r) {
    const Meeting meeting = rendezvous(all[static_cast<size_t>(r)], {});
    const int host = options.host_of[static_cast<size_t>(r)];
    std::vector<bool> near, far;
    for (const int h : options.host_of) {
      near.push_back(h == host);
      far.push_back(h != host);
    }
    std::unique_ptr<Transport> remote = tcp_transport(meeting, r, {.token = all[0].token, .wanted = far});
    Group group(mixed_transport(shm_transport(segments[static_cast<size_t>(host)], r), std::move(remote), near),
                options);
    body(group);
  });
}

TEST(Mixed, EveryAlgorithmWorksAcrossHosts) {
  for (const auto& [P, hosts] : {std::pair{4, 2}, std::pair{6, 2}, std::pair{6, 3}}) {
    for (const char* algorithm : {"", "ring", "pairwise", "hierarchical", "parameter-server"}) {
      GroupOptions options;
      if (*algorithm != '\0') options.forced[Operation::all_reduce] = algorithm;
      EXPECT_THAT(run_hosts(P, hosts, options, expect_sums), Each("")) << P << " ranks, " << algorithm;
    }
  }
}

TEST(Mixed, ARankThatLeavesEndsTheWaitsOfBothKinds) {
  const std::vector<std::string> errors = run_hosts(4, 2, {.timeout = milliseconds(20'000)}, [](Group& group) {
    group.barrier();
    if (group.rank() == 3) return;
    std::vector<float> x(100'000);
    group.all_reduce(std::span(x));
  });
  for (int r = 0; r < 3; ++r) EXPECT_THAT(errors[static_cast<size_t>(r)], HasSubstr("rank 3")) << r;
}

TEST(Mixed, CallsThatDifferFailEverywhereNamingBoth) {
  const std::vector<std::string> errors = run_hosts(4, 2, {.timeout = milliseconds(20'000)}, [](Group& group) {
    std::vector<float> x(group.rank() == 2 ? 10 : 11);
    group.all_reduce(std::span(x));
  });
  EXPECT_THAT(errors, Each(AllOf(HasSubstr("of 10 f32"), HasSubstr("of 11 f32"))));
}

}  // namespace
}  // namespace gradus::comm
