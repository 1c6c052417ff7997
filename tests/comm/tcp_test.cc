// Collectives over TCP, and what happens when a connection or a rank fails.
#include "gradus/comm/tcp_transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <bit>
#include <numeric>

#include "gradus/comm/handshake.h"
#include "gradus/core/error.h"
#include "gradus/core/rng.h"
#include "gradus/kernels/combine.h"
#include "tests/comm/tcp_ranks.h"
#include "tests/comm/vectors.h"

namespace gradus::comm {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Tcp, CanonicalSumsHaveTheBitsOfTheSerialTree) {
  for (const int P : {1, 2, 3, 4, 5, 8}) {
    EXPECT_THAT(run_tcp(P, {},
                        [&](Group& group) {
                          for (const int64_t n : {0, 1, P - 1, P, P + 1, 1009, 50'000, 300'007}) {
                            std::vector<float> x = vector_of(group.rank(), n);
                            group.all_reduce(std::span(x));
                            EXPECT_EQ(x, serial_sum(P, n)) << P << " ranks, " << n << " elements";
                          }
                        }),
                Each(""));
  }
}

TEST(Tcp, EveryAlgorithmSumsIntegersExactly) {
  for (const int P : {2, 3, 4, 5, 8}) {
    for (const char* algorithm : {"ring", "pairwise", "doubling", "rabenseifner", "parameter-server"}) {
      if (std::string_view(algorithm) == "rabenseifner" && !std::has_single_bit(static_cast<unsigned>(P))) continue;
      GroupOptions options;
      options.forced[Operation::all_reduce] = algorithm;
      EXPECT_THAT(run_tcp(P, options,
                          [&](Group& group) {
                            for (const int64_t n : {1, P, 1009, 70'001}) {
                              std::vector<int32_t> x(static_cast<size_t>(n));
                              std::iota(x.begin(), x.end(), group.rank());
                              group.all_reduce(std::span(x));
                              for (int64_t i = 0; i < n; ++i) {
                                ASSERT_EQ(x[static_cast<size_t>(i)], P * i + P * (P - 1) / 2) << algorithm;
                              }
                            }
                          }),
                  Each(""));
    }
  }
}

TEST(Tcp, MovesEverySliceWhereItBelongs) {
  for (const int P : {2, 3, 5}) {
    EXPECT_THAT(run_tcp(P, {},
                        [&](Group& group) {
                          const int r = group.rank();
                          std::vector<int32_t> x(static_cast<size_t>(3 * P), -1), y(x.size());
                          for (int i = 0; i < 3; ++i) x[static_cast<size_t>(3 * r + i)] = r;
                          group.all_gather(std::span(x));
                          for (int i = 0; i < 3 * P; ++i) EXPECT_EQ(x[static_cast<size_t>(i)], i / 3);
                          for (int i = 0; i < 3 * P; ++i) x[static_cast<size_t>(i)] = 100 * r + i / 3;
                          group.all_to_all(std::span(x), std::span(y));
                          for (int i = 0; i < 3 * P; ++i) EXPECT_EQ(y[static_cast<size_t>(i)], 100 * (i / 3) + r);
                          std::vector<double> z(40'000, r);
                          group.broadcast(std::span(z), P - 1);
                          EXPECT_THAT(z, Each(P - 1));
                          EXPECT_EQ(group.all_gather(std::string(static_cast<size_t>(r), 'a')).back().size(),
                                    static_cast<size_t>(P - 1));
                          group.barrier();
                        }),
                Each(""));
  }
}

TEST(Tcp, TheRingSendsTheBytesThatItMust) {
  constexpr int P = 4;
  constexpr int64_t n = 40'000;
  GroupOptions options;
  options.forced[Operation::all_reduce] = "ring";
  EXPECT_THAT(run_tcp(P, options,
                      [&](Group& group) {
                        std::vector<float> x(n);
                        group.all_reduce(std::span(x));
                        EXPECT_EQ(group.traffic().bytes_sent, 2 * (P - 1) * n * 4 / P);
                        EXPECT_EQ(group.traffic().bytes_received, 2 * (P - 1) * n * 4 / P);
                        EXPECT_EQ(group.traffic().messages, 2 * (P - 1));
                        EXPECT_EQ(group.traffic().header_bytes_sent, 2 * (P - 1) * 128);
                      }),
              Each(""));
}

TEST(Tcp, CallsThatDifferFailEverywhereNamingBothSites) {
  std::vector<float> x(100);
  const std::vector<std::string> errors = run_tcp(3, {}, [&](Group& group) {
    std::vector<float> mine(group.rank() == 1 ? 101 : 100);
    if (group.rank() == 1) {
      group.all_reduce(std::span(mine));
    } else {
      group.all_reduce(std::span(mine));
    }
  });
  EXPECT_THAT(errors, Each(AllOf(HasSubstr("of 100 f32"), HasSubstr("of 101 f32"), HasSubstr("tcp_test.cc"))));
}

TEST(Tcp, AnAbortEndsEveryWait) {
  const std::vector<std::string> errors = run_tcp(3, {}, [&](Group& group) {
    if (group.rank() == 2) {
      group.abort(Error(ErrorCode::interrupted, "the user left"));
      return;
    }
    group.barrier();
  });
  EXPECT_THAT(errors, ElementsAre(HasSubstr("the user left"), HasSubstr("the user left"), ""));
}

TEST(Tcp, AnAbortFromAnotherThreadWakesItsOwnRank) {
  const std::vector<std::string> errors = run_tcp(2, {}, [&](Group& group) {
    std::thread other;
    if (group.rank() == 0) {
      other = std::thread([&] { group.abort(Error(ErrorCode::interrupted, "enough")); });
    }
    try {
      group.barrier();
      if (group.rank() == 1) group.barrier();
    } catch (...) {
      if (other.joinable()) other.join();
      throw;
    }
    if (other.joinable()) other.join();
    group.barrier();
  });
  EXPECT_THAT(errors, Each(HasSubstr("enough")));
}

TEST(Tcp, ARankThatStaysAwayIsNamedAtTheDeadline) {
  std::atomic<int> failed = 0;
  const auto begin = steady_clock::now();
  const std::vector<std::string> errors = run_tcp(3, {.timeout = milliseconds(200)}, [&](Group& group) {
    if (group.rank() == 1) {
      while (failed < 2) std::this_thread::yield();
      return;
    }
    try {
      group.barrier();
    } catch (...) {
      ++failed;
      throw;
    }
  });
  EXPECT_THAT(errors[0], AnyOf(HasSubstr("rank 1"), HasSubstr("rank 2")));
  EXPECT_THAT(errors[2], AllOf(HasSubstr("did not come to barrier")));
  EXPECT_LT(steady_clock::now() - begin, milliseconds(10'000));
}

TEST(Tcp, ARankThatLeavesIsNamed) {
  const std::vector<std::string> errors = run_tcp(3, {}, [&](Group& group) {
    group.barrier();
    if (group.rank() != 1) group.barrier();
  });
  EXPECT_THAT(errors[0], AllOf(HasSubstr("rank 1"), HasSubstr("left")));
  EXPECT_THAT(errors[2], AllOf(HasSubstr("rank 1"), HasSubstr("left")));
}

// Two ranks over pipes, of which the test holds the ends of rank 1.
struct HalfAGroup {
  explicit HalfAGroup(milliseconds lost_after) {
    std::vector<Peer> peers(2);
    for (int r = 0; r < 2; ++r) peers[static_cast<size_t>(r)] = {.rank = r, .size = 2, .pid = 7, .host = "afar"};
    std::vector<Connection> connections(2);
    int ends[2];
    GRADUS_CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    connections[1].data = Descriptor(ends[0]);
    data = Descriptor(ends[1]);
    GRADUS_CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    connections[1].control = Descriptor(ends[0]);
    control = Descriptor(ends[1]);
    group = std::make_unique<Group>(tcp_transport(peers, std::move(connections), 0, lost_after));
  }
  Descriptor data, control;
  std::unique_ptr<Group> group;
};

std::string error_of(const std::function<void()>& f, ErrorCode code) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code);
    return e.what();
  }
  return "";
}

TEST(Tcp, AConnectionThatEndsWithinAMessageNamesTheRank) {
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{127}}) {
    HalfAGroup half(milliseconds(4'000));
    send_all(half.data, std::string(bytes, 'x'), steady_clock::now() + milliseconds(1'000));
    half.data = Descriptor();
    half.control = Descriptor();
    EXPECT_THAT(error_of([&] { half.group->barrier(); }, ErrorCode::peer_lost),
                AllOf(HasSubstr("rank 1"), HasSubstr("afar"), HasSubstr("gone")));
    EXPECT_THAT(error_of([&] { half.group->barrier(); }, ErrorCode::peer_lost), HasSubstr("gone"));
  }
}

TEST(Tcp, GarbageIsAnotherCall) {
  HalfAGroup half(milliseconds(4'000));
  send_all(half.data, random_bytes(1000), steady_clock::now() + milliseconds(1'000));
  EXPECT_THAT(error_of([&] { half.group->barrier(); }, ErrorCode::invalid_argument), HasSubstr("rank 1"));
}

TEST(Tcp, APeerThatLivedAndFellSilentIsLost) {
  HalfAGroup half(milliseconds(50));
  send_all(half.control, std::string("b\0\0", 3), steady_clock::now() + milliseconds(1'000));
  std::atomic<bool> done = false;
  std::thread watch([&] {
    while (!done) half.group->transport().watch();
  });
  EXPECT_THAT(error_of([&] { half.group->barrier(); }, ErrorCode::peer_lost),
              AllOf(HasSubstr("rank 1"), HasSubstr("silent")));
  done = true;
  watch.join();
}

TEST(Tcp, RanksThatWatchAliveStayTogether) {
  EXPECT_THAT(run_connected(3, {}, {.transport = "tcp", .lost_after = milliseconds(2'000)},
                            [&](Group& group) {
                              std::atomic<bool> done = false;
                              std::thread watch([&] {
                                while (!done) group.transport().watch();
                              });
                              for (int i = 0; i < 10; ++i) {
                                std::vector<float> x(1000, 1);
                                group.all_reduce(std::span(x));
                                EXPECT_THAT(x, Each(3));
                              }
                              done = true;
                              watch.join();
                              group.barrier();
                            }),
              Each(""));
}

}  // namespace
}  // namespace gradus::comm
