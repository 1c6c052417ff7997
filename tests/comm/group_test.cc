// What collectives compute, for every algorithm, against a serial reference. Ranks are threads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstring>

#include "gradus/core/rng.h"
#include "gradus/kernels/combine.h"
#include "tests/comm/ranks.h"

namespace gradus::comm {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;

constexpr int kRanks[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 17};

// n elements of any type, as bytes. Floats and integers alike come from small integers, so that the sums of a ring,
// whose order is its own, are exact too; `rough` floats are not.
std::vector<std::byte> elements_of(DType dtype, int rank, int64_t n, bool rough) {
  Rng rng(7, Purpose::data, static_cast<uint64_t>(rank));
  std::vector<std::byte> bytes(static_cast<size_t>(n) * size_of(dtype));
  const auto put = [&](int64_t i, const auto& value) {
    std::memcpy(bytes.data() + static_cast<size_t>(i) * sizeof value, &value, sizeof value);
  };
  for (int64_t i = 0; i < n; ++i) {
    const int64_t small = rng.below(3);
    const double x = rough ? rng.uniform() * 2 - 1 : static_cast<double>(small);
    switch (dtype) {
      case DType::f64:
        put(i, x);
        break;
      case DType::f32:
        put(i, static_cast<float>(x));
        break;
      case DType::bf16:
        put(i, to_bf16(static_cast<float>(x)));
        break;
      case DType::f16:
        put(i, to_f16(static_cast<float>(x)));
        break;
      case DType::i64:
        put(i, small);
        break;
      case DType::i32:
        put(i, static_cast<int32_t>(small));
        break;
      case DType::u8:
        put(i, static_cast<uint8_t>(small));
        break;
    }
  }
  return bytes;
}

std::vector<std::byte> serial(ReduceOp op, DType dtype, int P, int64_t n, bool rough) {
  std::vector<std::vector<std::byte>> xs;
  std::vector<const void*> pointers;
  for (int r = 0; r < P; ++r) xs.push_back(elements_of(dtype, r, n, rough));
  for (const auto& x : xs) pointers.push_back(x.data());
  std::vector<std::byte> y(static_cast<size_t>(n) * size_of(dtype));
  kernels::combine(op, dtype, pointers, y.data(), n, P);
  return y;
}

bool is_power(int P) {
  return std::has_single_bit(static_cast<unsigned>(P));
}

std::vector<int64_t> sizes(int P) {
  return {0, 1, P - 1, P, P + 1, 1009};
}

void expect_all_reduce(Group& group, DType dtype, ReduceOp op, int64_t n, bool rough, const std::string& algorithm) {
  group.force(Operation::all_reduce, algorithm);
  std::vector<std::byte> x = elements_of(dtype, group.rank(), n, rough);
  group.all_reduce(Buffer(x.data(), n, dtype), op);
  EXPECT_EQ(x, serial(op, dtype, group.size(), n, rough))
      << group.size() << " ranks, " << n << " " << name(dtype) << ", " << kernels::name(op) << ", " << algorithm;
}

TEST(Group, CanonicalAlgorithmsHaveTheBitsOfTheSerialTree) {
  for (const int P : kRanks) {
    EXPECT_THAT(run_threads(P, {},
                            [&](Group& group) {
                              for (const std::string algorithm :
                                   {"", "slices", "pairwise", "doubling", "rabenseifner", "parameter-server"}) {
                                if (P == 1 && !algorithm.empty()) continue;
                                const bool needs_power = algorithm == "rabenseifner" || algorithm == "doubling";
                                if (needs_power && !is_power(P)) continue;
                                for (const int64_t n : sizes(P)) {
                                  expect_all_reduce(group, DType::f32, ReduceOp::sum, n, true, algorithm);
                                  expect_all_reduce(group, DType::bf16, ReduceOp::mean, n, true, algorithm);
                                }
                              }
                            }),
                Each(""))
        << P;
  }
}

TEST(Group, EveryTypeAndOperationIsReduced) {
  for (const int P : kRanks) {
    EXPECT_THAT(run_threads(P, {},
                            [&](Group& group) {
                              for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::f16, DType::i64,
                                                        DType::i32, DType::u8}) {
                                for (const ReduceOp op :
                                     {ReduceOp::sum, ReduceOp::mean, ReduceOp::min, ReduceOp::max, ReduceOp::prod}) {
                                  expect_all_reduce(group, dtype, op, 33, true, "");
                                  if (P > 1) expect_all_reduce(group, dtype, op, 33, false, "ring");
                                }
                              }
                            }),
                Each(""))
        << P;
  }
}

TEST(Group, TheRingsSumsAreExactWhereAnyOrderIs) {
  for (const int P : kRanks) {
    if (P == 1) continue;
    EXPECT_THAT(run_threads(P, {},
                            [&](Group& group) {
                              for (const std::string algorithm : {"ring", "doubling"}) {
                                for (const int64_t n : sizes(P)) {
                                  expect_all_reduce(group, DType::f32, ReduceOp::sum, n, false, algorithm);
                                }
                              }
                            }),
                Each(""))
        << P;
  }
}

TEST(Group, ReduceScatterThenAllGatherIsAllReduce) {
  for (const int P : kRanks) {
    EXPECT_THAT(run_threads(P, {},
                            [&](Group& group) {
                              for (const std::string algorithm : {"", "ring", "pairwise"}) {
                                if (P == 1 && !algorithm.empty()) continue;
                                group.force(Operation::reduce_scatter, algorithm);
                                for (const int64_t n : sizes(P)) {
                                  std::vector<std::byte> x =
                                      elements_of(DType::f32, group.rank(), n, algorithm != "ring");
                                  group.reduce_scatter(Buffer(x.data(), n, DType::f32));
                                  group.all_gather(Buffer(x.data(), n, DType::f32));
                                  EXPECT_EQ(x, serial(ReduceOp::sum, DType::f32, P, n, algorithm != "ring"))
                                      << P << ", " << n << ", " << algorithm;
                                }
                              }
                            }),
                Each(""))
        << P;
  }
}

TEST(Group, SlicesMayBeOfAnySize) {
  EXPECT_THAT(run_threads(4, {},
                          [&](Group& group) {
                            const int64_t bounds[] = {0, 0, 700, 701, 1009};
                            for (const std::string algorithm : {"slices", "pairwise"}) {
                              group.force(Operation::reduce_scatter, algorithm);
                              std::vector<std::byte> x = elements_of(DType::f32, group.rank(), 1009, true);
                              group.reduce_scatter(Buffer(x.data(), 1009, DType::f32), ReduceOp::sum, bounds);
                              group.all_gather(Buffer(x.data(), 1009, DType::f32), bounds);
                              EXPECT_EQ(x, serial(ReduceOp::sum, DType::f32, 4, 1009, true)) << algorithm;
                            }
                          }),
              Each(""));
}

TEST(Group, TheSumOfAConcatenationIsTheConcatenationOfSums) {
  for (const int P : {2, 3, 4, 7}) {
    EXPECT_THAT(run_threads(P, {},
                            [&](Group& group) {
                              std::vector<std::byte> x = elements_of(DType::f32, group.rank(), 1009, true), parts = x;
                              group.all_reduce(Buffer(x.data(), 1009, DType::f32));
                              for (const auto& [begin, end] : {std::pair{0, 5}, {5, 6}, {6, 900}, {900, 1009}}) {
                                group.all_reduce(Buffer(parts.data() + 4 * begin, end - begin, DType::f32));
                              }
                              EXPECT_EQ(x, parts) << P;
                            }),
                Each(""));
  }
}

TEST(Group, BroadcastGatherAndAllToAllMoveEveryElementWhereItBelongs) {
  for (const int P : kRanks) {
    EXPECT_THAT(run_threads(P, {},
                            [&](Group& group) {
                              for (const std::string algorithm : {"", "binomial", "pipelined"}) {
                                if (P == 1 && !algorithm.empty()) continue;
                                group.force(Operation::broadcast, algorithm);
                                for (const int root : {0, P / 2, P - 1}) {
                                  for (const int64_t n : {int64_t{0}, int64_t{1}, int64_t{1009}, int64_t{40'000}}) {
                                    std::vector<std::byte> x = elements_of(DType::f32, group.rank(), n, true);
                                    group.broadcast(Buffer(x.data(), n, DType::f32), root);
                                    EXPECT_EQ(x, elements_of(DType::f32, root, n, true)) << P << ", root " << root;
                                  }
                                }
                              }
                              std::vector<int64_t> x(static_cast<size_t>(3 * P)), y(x);
                              for (size_t i = 0; i < x.size(); ++i)
                                x[i] = group.rank() * 1000 + static_cast<int64_t>(i);
                              group.all_to_all(std::span(x), std::span(y));
                              for (int64_t i = 0; i < std::ssize(y); ++i) {
                                EXPECT_EQ(y[static_cast<size_t>(i)], i / 3 * 1000 + group.rank() * 3 + i % 3);
                              }
                              group.gather(std::span(x), P - 1);  // slice r of rank r
                              if (group.rank() == P - 1) {
                                for (int64_t i = 0; i < std::ssize(x); ++i) {
                                  EXPECT_EQ(x[static_cast<size_t>(i)], i / 3 * 1000 + i);
                                }
                              }
                              const std::vector<std::string> all = group.all_gather(std::string(
                                  static_cast<size_t>(group.rank() % 3), static_cast<char>('a' + group.rank())));
                              for (int r = 0; r < P; ++r) {
                                EXPECT_EQ(all[static_cast<size_t>(r)],
                                          std::string(static_cast<size_t>(r % 3), static_cast<char>('a' + r)));
                              }
                            }),
                Each(""))
        << P;
  }
}

TEST(Group, NobodyLeavesABarrierBeforeAllHaveCome) {
  for (const int P : {2, 5, 8}) {
    for (const std::string algorithm : {"slices", "dissemination"}) {
      std::atomic<int> arrived = 0;
      EXPECT_THAT(run_threads(P, {.forced = {{Operation::barrier, algorithm}}},
                              [&](Group& group) {
                                for (int round = 1; round <= 20; ++round) {
                                  ++arrived;
                                  group.barrier();
                                  EXPECT_GE(arrived, P * round);
                                  group.barrier();
                                }
                              }),
                  Each(""));
    }
  }
}

TEST(Group, TrafficOfTheRingIsTwiceTheShareOfTheOthers) {
  for (const int P : {2, 3, 4, 8}) {
    const int64_t n = 840;  // divisible by each
    EXPECT_THAT(run_threads(P, {.forced = {{Operation::all_reduce, "ring"}}},
                            [&](Group& group) {
                              std::vector<float> x(static_cast<size_t>(n));
                              group.all_reduce(std::span(x));
                              EXPECT_EQ(group.traffic().bytes_sent, 2 * (P - 1) * n * 4 / P);
                              EXPECT_EQ(group.traffic().messages, 2 * (P - 1));
                            }),
                Each(""));
  }
}

// What ranks that call different things say: all of them the same, with both calls.
void expect_mismatch(const std::function<void(Group&)>& odd, const std::function<void(Group&)>& even,
                     const std::string& a, const std::string& b) {
  EXPECT_THAT(run_threads(4, {.timeout = std::chrono::seconds(20)},
                          [&](Group& group) { group.rank() == 2 ? odd(group) : even(group); }),
              Each(AllOf(HasSubstr(a), HasSubstr(b), HasSubstr("group_test.cc:"))));
}

TEST(Group, ACallThatTheOthersDoNotMakeIsNamedWithTheirs) {
  std::vector<float> x(64), y(65);
  std::vector<int32_t> z(64);
  const auto reduce = [&](Group& g) {
    std::vector<float> own(64);
    g.all_reduce(std::span(own));
  };
  expect_mismatch([&](Group& g) { g.all_reduce(std::span(y)); }, reduce, "of 65 f32", "of 64 f32");
  expect_mismatch([&](Group& g) { g.all_reduce(std::span(z)); }, reduce, "of 64 i32", "of 64 f32");
  expect_mismatch([&](Group& g) { g.all_reduce(std::span(x), ReduceOp::max); }, reduce, "(max)", "(sum)");
  expect_mismatch([&](Group& g) { g.barrier(); }, reduce, "barrier", "all_reduce");
  expect_mismatch([&](Group& g) { g.gather(std::span(x)); }, reduce, "gather", "all_reduce");
  expect_mismatch([&](Group& g) { g.gather(std::span(x), 2); },
                  [&](Group& g) {
                    std::vector<float> own(64);
                    g.gather(std::span(own), 1);
                  },
                  "root 2", "root 1");
}

TEST(Group, AClosedGroupSaysWhyAgain) {
  EXPECT_THAT(run_threads(2, {.timeout = std::chrono::milliseconds(50)},
                          [](Group& group) {
                            if (group.rank() == 1) {  // comes when the other has given up
                              while (!group.transport().aborted()) std::this_thread::yield();
                            }
                            EXPECT_THROW(group.barrier(), Error);
                            group.barrier();
                          }),
              Each(AllOf(HasSubstr("rank 1 did not come"), HasSubstr("barrier"))));
}

// Else the ranks that wait would take the meeting for complete, and use the vector of one that has left.
TEST(Group, ARankThatComesAfterOneGaveUpCompletesNoMeeting) {
  for (int round = 0; round < 50; ++round) {
    EXPECT_THAT(run_threads(3, {},
                            [](Group& group) {
                              if (group.rank() == 0) group.transport().set_timeout(std::chrono::milliseconds(2));
                              while (group.rank() == 2 && !group.transport().aborted()) std::this_thread::yield();
                              group.barrier();
                            }),
                Each(AllOf(HasSubstr("did not come"), HasSubstr("barrier"))));
  }
}

TEST(Group, AbortEndsAllWaits) {
  EXPECT_THAT(run_threads(3, {},
                          [](Group& group) {
                            if (group.rank() == 1) return group.abort(Error(ErrorCode::io, "the disk is full"));
                            std::vector<float> x(1000);
                            group.all_reduce(std::span(x));
                          }),
              testing::ElementsAre(HasSubstr("the disk is full"), "", HasSubstr("the disk is full")));
}

TEST(Group, ArgumentsThatNobodyCanMeanLeaveItOpen) {
  EXPECT_THAT(run_threads(2, {},
                          [](Group& group) {
                            std::vector<float> x(5);
                            EXPECT_THROW(group.broadcast(std::span(x), 2), Error);
                            EXPECT_THROW(group.all_to_all(std::span(x), std::span(x)), Error);
                            const int64_t bounds[] = {0, 4, 3};
                            EXPECT_THROW(group.all_gather(std::span(x), bounds), Error);
                            group.barrier();
                          }),
              Each(""));
}

TEST(Group, AnAlgorithmThatIsNotThereNamesThoseThatAre) {
  EXPECT_THAT(run_threads(2, {.forced = {{Operation::all_reduce, "rings"}}},
                          [](Group& group) {
                            std::vector<float> x(5);
                            group.all_reduce(std::span(x));
                          }),
              Each(AllOf(HasSubstr("rings"), HasSubstr("pairwise"))));
}

}  // namespace
}  // namespace gradus::comm
