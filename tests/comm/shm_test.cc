// Ranks that share a segment: what their collectives compute, for every algorithm, and how they fail.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bit>
#include <chrono>
#include <csignal>
#include <cstring>
#include <latch>

#include "gradus/comm/shm_transport.h"
#include "gradus/core/rng.h"
#include "gradus/kernels/combine.h"
#include "gradus/kernels/convert.h"
#include "tests/comm/ranks.h"

namespace gradus::comm {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

constexpr int kRanks[] = {1, 2, 3, 4, 5, 8, 13};
constexpr int64_t kPrime = 1009;

constexpr int64_t kSlot = 1024;  // f32 in a slot: few, so that short vectors have many chunks

std::shared_ptr<const ShmSegment> segment_for(int P) {
  return std::make_shared<const ShmSegment>(ShmSegment::create(P, {.most_slot_bytes = kSlot * sizeof(float)}));
}

std::vector<std::string> run_shm(int P, const GroupOptions& options, const std::function<void(Group&)>& body) {
  const auto segment = segment_for(P);
  return run_ranks(
      P, [&](int r) { return shm_transport(segment, r); }, options, body);
}

// Elements of any type as their bytes.
using Bytes = std::vector<uint8_t>;

int64_t count_of(const Bytes& x, DType dtype) {
  return static_cast<int64_t>(x.size() / size_of(dtype));
}

Bytes vector_of(int rank, int64_t n, DType dtype) {
  Rng rng(7, Purpose::data, static_cast<uint64_t>(rank));
  Bytes x(static_cast<size_t>(n) * size_of(dtype));
  if (!is_floating(dtype)) {
    for (uint8_t& b : x) b = static_cast<uint8_t>(rng.bits32());
    return x;
  }
  Tensor wide = Tensor::empty({n});
  for (int64_t i = 0; i < n; ++i) wide.data<float>()[i] = static_cast<float>(rng.uniform() * 2 - 1);
  Tensor y = Tensor::over(x.data(), {n}, dtype);
  if (dtype == DType::f64) {
    for (int64_t i = 0; i < n; ++i) y.data<double>()[i] = wide.data<float>()[i];
  } else if (n > 0) {
    kernels::convert(wide, y);
  }
  return x;
}

Bytes serial_reduction(int P, int64_t n, DType dtype, ReduceOp op) {
  std::vector<Bytes> xs;
  std::vector<const void*> pointers;
  for (int r = 0; r < P; ++r) xs.push_back(vector_of(r, n, dtype));
  for (const Bytes& x : xs) pointers.push_back(x.data());
  Bytes y(static_cast<size_t>(n) * size_of(dtype));
  kernels::combine(op, dtype, pointers, y.data(), n, P);
  return y;
}

Bytes slice_of(const Bytes& x, int P, int k, DType dtype) {
  const std::vector<int64_t> bounds = even_bounds(count_of(x, dtype), P);
  const auto at = [&](int i) {
    return x.begin() + bounds[static_cast<size_t>(i)] * static_cast<int64_t>(size_of(dtype));
  };
  return {at(k), at(k + 1)};
}

struct Case {
  Operation operation;
  std::string algorithm;
};

// The algorithms whose result has the canonical order for P ranks; "" is the table's choice.
std::vector<Case> cases(int P) {
  const bool power = std::has_single_bit(static_cast<unsigned>(P));
  std::vector<Case> list;
  for (const std::string a :
       {"", "one-shot", "two-shot", "pairwise", "parameter-server", "doubling", "rabenseifner", "ring"}) {
    if (!power && (a == "doubling" || a == "rabenseifner")) continue;
    if (P > 2 && a == "ring") continue;
    list.push_back({Operation::all_reduce, a});
  }
  for (const std::string a : {"", "one-shot", "two-shot", "pairwise"}) list.push_back({Operation::reduce_scatter, a});
  for (const std::string a : {"", "one-shot", "staged", "ring"}) list.push_back({Operation::all_gather, a});
  for (const std::string a : {"", "staged", "binomial", "pipelined"}) list.push_back({Operation::broadcast, a});
  for (const std::string a : {"", "one-shot", "dissemination"}) list.push_back({Operation::barrier, a});
  list.push_back({Operation::gather, ""});
  list.push_back({Operation::all_to_all, ""});
  return list;
}

// Runs the case twice, on other buffers, and compares with what one thread computes.
void expect_right(Group& group, const Case& c, int64_t n, DType dtype, ReduceOp op) {
  const int P = group.size(), r = group.rank();
  const int root = static_cast<int>(n) % P;
  const auto where = [&] {
    return fmt::format("{} by '{}', rank {} of {}, {} {}, {}", name(c.operation), c.algorithm, r, P, n, name(dtype),
                       kernels::name(op));
  };
  for (int turn = 0; turn < 2; ++turn) {
    Bytes x = vector_of(r, n, dtype);
    Buffer buffer(x.data(), n, dtype);
    switch (c.operation) {
      case Operation::all_reduce:
        group.all_reduce(buffer, op);
        ASSERT_EQ(x, serial_reduction(P, n, dtype, op)) << where();
        break;
      case Operation::reduce_scatter:
        group.reduce_scatter(buffer, op);
        ASSERT_EQ(slice_of(x, P, r, dtype), slice_of(serial_reduction(P, n, dtype, op), P, r, dtype)) << where();
        break;
      case Operation::all_gather:
        group.all_gather(buffer);
        for (int k = 0; k < P; ++k) {
          ASSERT_EQ(slice_of(x, P, k, dtype), slice_of(vector_of(k, n, dtype), P, k, dtype)) << where();
        }
        break;
      case Operation::broadcast:
        group.broadcast(buffer, root);
        ASSERT_EQ(x, vector_of(root, n, dtype)) << where();
        break;
      case Operation::gather:
        group.gather(buffer, root);
        for (int k = 0; k < P && r == root; ++k) {
          ASSERT_EQ(slice_of(x, P, k, dtype), slice_of(vector_of(k, n, dtype), P, k, dtype)) << where();
        }
        break;
      case Operation::all_to_all: {
        const int64_t whole = n / P * P;
        x.resize(static_cast<size_t>(whole) * size_of(dtype));
        Bytes y(x.size());
        group.all_to_all({x.data(), whole, dtype}, {y.data(), whole, dtype});
        for (int k = 0; k < P; ++k) {
          Bytes theirs = vector_of(k, n, dtype);
          theirs.resize(x.size());
          ASSERT_EQ(slice_of(y, P, k, dtype), slice_of(theirs, P, r, dtype)) << where();
        }
        break;
      }
      default:
        group.barrier();
    }
  }
}

void expect_all_right(int P, const std::vector<int64_t>& sizes, DType dtype, ReduceOp op) {
  for (const Case& c : cases(P)) {
    GroupOptions options;
    if (P > 1 && !c.algorithm.empty()) options.forced[c.operation] = c.algorithm;
    EXPECT_THAT(run_shm(P, options,
                        [&](Group& group) {
                          for (const int64_t n : sizes) {
                            if (c.algorithm == "one-shot" &&
                                n * static_cast<int64_t>(size_of(dtype)) > static_cast<int64_t>(kOneShotBytes))
                              continue;
                            expect_right(group, c, n, dtype, op);
                          }
                        }),
                Each(""));
  }
}

TEST(Shm, EveryAlgorithmHasTheBitsOfTheSerialTree) {
  for (const int P : kRanks) expect_all_right(P, {0, 1, P - 1, P, P + 1, 13, 15, kPrime}, DType::f32, ReduceOp::sum);
}

TEST(Shm, SizesAroundSlotsAndChunksAreNotSpecial) {
  for (const int P : {2, 3}) {
    const int64_t chunk = P * kSlot;
    expect_all_right(P, {kSlot - 1, kSlot, kSlot + 1, chunk - 1, chunk, chunk + 1, 5 * chunk - 1, 5 * chunk + 1},
                     DType::f32, ReduceOp::sum);
  }
}

TEST(Shm, TypesAndOperationsAreTheKernels) {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::f16, DType::i64, DType::i32, DType::u8}) {
    for (const ReduceOp op : {ReduceOp::sum, ReduceOp::mean, ReduceOp::min, ReduceOp::max, ReduceOp::prod}) {
      for (const std::string algorithm : {"one-shot", "two-shot"}) {
        EXPECT_THAT(run_shm(3, {.forced = {{Operation::all_reduce, algorithm}}},
                            [&](Group& group) {
                              expect_right(group, {Operation::all_reduce, algorithm}, kPrime, dtype, op);
                            }),
                    Each(""));
      }
    }
  }
}

TEST(Shm, TheTableTakesItsOwnAlgorithms) {
  EXPECT_THAT(run_shm(3, {},
                      [](Group& group) {
                        const auto chosen = [&] { return group.recorder().entries().back().algorithm; };
                        std::vector<float> x(1025);
                        group.all_reduce(std::span(x).first(1024));
                        EXPECT_EQ(chosen(), "one-shot");
                        group.all_reduce(std::span(x));
                        EXPECT_EQ(chosen(), "two-shot");
                        group.reduce_scatter(std::span(x));
                        EXPECT_EQ(chosen(), "two-shot");
                        group.all_gather(std::span(x));
                        EXPECT_EQ(chosen(), "staged");
                        group.broadcast(std::span(x));
                        EXPECT_EQ(chosen(), "staged");
                        group.barrier();
                        EXPECT_EQ(chosen(), "one-shot");
                      }),
              Each(""));
}

TEST(Shm, UnevenAndEmptySlicesAreScatteredAndGathered) {
  for (const std::string algorithm : {"one-shot", "two-shot"}) {
    const std::string gather = algorithm == "one-shot" ? "one-shot" : "staged";
    const std::vector<int64_t> bounds = {0, 0, 1, 900, 901};
    const Bytes expected = serial_reduction(4, 901, DType::f32, ReduceOp::sum);
    EXPECT_THAT(run_shm(4, {.forced = {{Operation::reduce_scatter, algorithm}, {Operation::all_gather, gather}}},
                        [&](Group& group) {
                          Bytes x = vector_of(group.rank(), 901, DType::f32);
                          group.reduce_scatter({x.data(), 901, DType::f32}, ReduceOp::sum, bounds);
                          group.all_gather({x.data(), 901, DType::f32}, bounds);
                          EXPECT_EQ(x, expected);
                        }),
                Each(""));
  }
}

TEST(Shm, CollectivesOfAllKindsFollowEachOther) {
  EXPECT_THAT(run_shm(5, {},
                      [](Group& group) {
                        Rng rng(3, Purpose::data);  // the same on all ranks
                        const std::vector<Case> list = cases(5);
                        for (int i = 0; i < 40; ++i) {
                          Case c = list[rng.bits32() % list.size()];
                          c.algorithm.clear();
                          const auto n = static_cast<int64_t>(rng.bits32() % 8000);
                          expect_right(group, c, n, DType::f32, ReduceOp::sum);
                        }
                      }),
              Each(""));
}

TEST(Shm, MessagesOfManySlotsCrossWithoutDeadlock) {
  const auto segment = segment_for(17);
  const size_t n = segment->channel_bytes() * 9 + 1;
  EXPECT_THAT(run_ranks(
                  17, [&](int r) { return shm_transport(segment, r); }, {},
                  [&](Group& group) {
                    std::vector<uint8_t> x(n, static_cast<uint8_t>(group.rank()));
                    group.broadcast(std::span(x), 16);
                    EXPECT_THAT(x, Each(16));
                  }),
              Each(""));
}

TEST(Shm, TrafficOfAnAllReduceIsTwiceTheVectorButForOwnSlices) {
  EXPECT_THAT(run_shm(4, {.forced = {{Operation::all_reduce, "two-shot"}}},
                      [](Group& group) {
                        std::vector<float> x(4000, 1);
                        group.all_reduce(std::span(x));
                        EXPECT_EQ(group.traffic().bytes_sent, 2 * 3 * 4000);
                        EXPECT_EQ(group.traffic().bytes_received, 2 * 3 * 4000);
                      }),
              Each(""));
}

// Each of two ranks makes a call of its own.
void expect_mismatch(const std::function<void(Group&)>& first, const std::function<void(Group&)>& second) {
  const auto body = [&](Group& group) {
    group.rank() == 0 ? first(group) : second(group);
    group.barrier();  // for a rank that had no part in it
  };
  for (const int P : {2, 3}) {
    EXPECT_THAT(run_shm(P, {}, body), Each(AllOf(HasSubstr("different things"), HasSubstr("shm_test.cc"))));
  }
}

TEST(Shm, MismatchedCallsFailOnAllRanksNamingBothSites) {
  const auto all_reduce = [&](int64_t n, ReduceOp op = ReduceOp::sum, DType dtype = DType::f32) {
    return [n, op, dtype](Group& group) {
      std::vector<float> x(static_cast<size_t>(n) * 2);
      group.all_reduce({x.data(), n, dtype}, op);
    };
  };
  const auto broadcast = [&](int root) {
    return [root](Group& group) {
      std::vector<float> x(10'000);
      group.broadcast(std::span(x), root);
    };
  };
  expect_mismatch(all_reduce(10), all_reduce(11));
  expect_mismatch(all_reduce(10), all_reduce(50'000));
  expect_mismatch(all_reduce(50'000), all_reduce(60'000));
  expect_mismatch(all_reduce(0), all_reduce(50'000));
  expect_mismatch(all_reduce(10), all_reduce(10, ReduceOp::max));
  expect_mismatch(all_reduce(10), all_reduce(10, ReduceOp::sum, DType::i32));
  expect_mismatch(broadcast(0), broadcast(1));
  const auto gather = [&](int root) {
    return [root](Group& group) {
      std::vector<float> x(10);
      group.gather(std::span(x), root);
    };
  };
  expect_mismatch(gather(0), gather(1));
  expect_mismatch(gather(1), gather(0));
  expect_mismatch(all_reduce(10'000), broadcast(0));
  expect_mismatch(all_reduce(10), [](Group& group) { group.barrier(); });
}

TEST(Shm, AClosedGroupSaysWhyAgain) {
  EXPECT_THAT(run_shm(2, {},
                      [](Group& group) {
                        std::vector<float> x(static_cast<size_t>(group.rank()) + 1);
                        EXPECT_THROW(group.all_reduce(std::span(x)), Error);
                        group.barrier();
                      }),
              Each(HasSubstr("different things")));
}

TEST(Shm, AbortWakesAllRanks) {
  const auto segment = segment_for(3);
  std::latch waiting(2);
  const auto body = [&](Group& group) {
    std::vector<float> x(50'000);
    if (group.rank() < 2) {
      waiting.count_down();
      group.all_reduce(std::span(x));
    } else {
      waiting.wait();
      group.abort(Error(ErrorCode::interrupted, "the user wants to stop"));
      group.barrier();
    }
  };
  EXPECT_THAT(run_ranks(
                  3, [&](int r) { return shm_transport(segment, r); }, {}, body),
              Each(HasSubstr("the user wants to stop")));
}

TEST(Shm, ARankThatDoesNotComeIsATimeoutThatNamesIt) {
  std::latch done(1);
  const auto errors = run_shm(2, {.timeout = 50ms}, [&](Group& group) {
    if (group.rank() == 1) return done.wait();
    try {
      group.barrier();
    } catch (...) {
      done.count_down();
      throw;
    }
  });
  EXPECT_THAT(errors[0], HasSubstr("rank 1"));
  EXPECT_THAT(errors[0], HasSubstr("did not come"));
}

TEST(Shm, ARankThatLeftIsNamed) {
  EXPECT_THAT(run_shm(2, {},
                      [](Group& group) {
                        if (group.rank() == 0) group.barrier();
                      })[0],
              AllOf(HasSubstr("rank 1"), HasSubstr("left")));
}

// A child process that is rank 1 of 2 and waits in a barrier that rank 0 joins only once `end` was done to it.
class LostRank : public ::testing::Test {
 protected:
  std::string error_after(int signal) {
    const auto segment = segment_for(2);
    const pid_t child = ::fork();
    if (child == 0) {
      Group group(shm_transport(segment, 1));
      group.barrier();
      while (true) group.transport().watch();
    }
    Group group(shm_transport(segment, 0, {.longest_silence = 300ms}));
    group.barrier();
    while (segment->state(1).beat.load() == 0) std::this_thread::yield();
    std::atomic<bool> done{false};
    std::thread watchdog([&] {
      while (!done) {
        group.transport().watch();
        std::this_thread::sleep_for(5ms);
      }
    });
    ::kill(child, signal);
    const auto begin = std::chrono::steady_clock::now();
    std::string error;
    try {
      group.barrier();
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::peer_lost);
      error = e.what();
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
    done = true;
    watchdog.join();
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    EXPECT_THAT(error, HasSubstr(fmt::format("rank 1 (process {})", child)));
    EXPECT_THAT(error, HasSubstr("last call was barrier"));
    return error;
  }
};

TEST_F(LostRank, KilledIsReportedByTheSurvivor) {
  EXPECT_THAT(error_after(SIGKILL), HasSubstr("ended"));
}

TEST_F(LostRank, StoppedIsReportedByTheSurvivor) {
  EXPECT_THAT(error_after(SIGSTOP), HasSubstr("no sign of life"));
}

TEST(ShmSegment, AttachesWhereItWasCreated) {
  const ShmSegment made = ShmSegment::create(3, {.generation = 42});
  const ShmSegment attached = ShmSegment::attach(made.fd());
  EXPECT_EQ(attached.ranks(), 3);
  EXPECT_EQ(attached.generation(), 42u);
  made.passed(2).store(7);
  EXPECT_EQ(attached.passed(2).load(), 7u);
}

TEST(ShmSegment, AnyOtherFileIsCorrupt) {
  const auto expect_corrupt = [](int fd) {
    try {
      ShmSegment::attach(fd);
      ADD_FAILURE();
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::corrupt) << e.what();
    }
  };
  std::FILE* file = std::tmpfile();
  expect_corrupt(::fileno(file));
  ASSERT_EQ(::ftruncate(::fileno(file), 1 << 20), 0);
  expect_corrupt(::fileno(file));
  std::fclose(file);
  const ShmSegment segment = ShmSegment::create(2);
  const ShmSegment copy = ShmSegment::attach(segment.fd());
  std::byte* header = reinterpret_cast<std::byte*>(&copy.abort()) - 4096;
  const int32_t ranks = 3;
  std::memcpy(header + 12, &ranks, sizeof ranks);
  expect_corrupt(segment.fd());
}

TEST(ShmSegment, IsBoundedForAllNumbersOfRanks) {
  for (int P = 1; P <= kShmMostRanks; ++P) EXPECT_LT(ShmLayout(P, 64 << 10).end, size_t{70} << 20) << P;
}

TEST(ShmSegment, WithoutMemoryIsExhausted) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit tiny = {.rlim_cur = 1 << 20, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tiny), 0);
  try {
    ShmSegment::create(8);
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::exhausted);
    EXPECT_THAT(e.what(), HasSubstr("8 ranks need"));
    EXPECT_THAT(e.what(), HasSubstr("1048576 bytes"));
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_THROW(ShmSegment::create(0), Error);
  EXPECT_THROW(ShmSegment::create(kShmMostRanks + 1), Error);
}

}  // namespace
}  // namespace gradus::comm
