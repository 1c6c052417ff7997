#include "gradus/core/thread_pool.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/core/expect_error.h"

namespace gradus {
namespace {

template <class Body>
void run(ThreadPool& p, int64_t n, Body body) {
  p.run(
      n, [](void* context, int64_t i) { (*static_cast<Body*>(context))(i); }, &body);
}

class EveryPoolSize : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(ThreadPool, EveryPoolSize, ::testing::Values(1, 2, 3, 8));

TEST_P(EveryPoolSize, CallsEachIndexExactlyOnce) {
  ThreadPool p(GetParam());
  for (int64_t n : {0, 1, 2, 7, 31, 64, 257, 5000}) {
    std::vector<std::atomic<int>> calls(static_cast<size_t>(n));
    run(p, n, [&](int64_t i) { calls.at(static_cast<size_t>(i)).fetch_add(1); });
    for (const auto& c : calls) ASSERT_EQ(c.load(), 1) << n;
  }
}

TEST_P(EveryPoolSize, ManyShortJobsInARowAllFinish) {
  ThreadPool p(GetParam());
  std::atomic<int64_t> sum{0};
  for (int job = 0; job < 2000; ++job) run(p, 4, [&](int64_t i) { sum.fetch_add(i); });
  EXPECT_EQ(sum.load(), 2000 * 6);
}

TEST_P(EveryPoolSize, RethrowsAnExceptionAfterTheRestAndStaysUsable) {
  ThreadPool p(GetParam());
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> calls{0};
    EXPECT_GRADUS_ERROR(run(p, 50,
                            [&](int64_t i) {
                              calls.fetch_add(1);
                              if (i == 13) fail(ErrorCode::diverged, "index 13");
                            }),
                        diverged, "index 13");
    EXPECT_EQ(calls.load(), 50);
  }
  std::atomic<int> calls{0};
  run(p, 50, [&](int64_t) { calls.fetch_add(1); });
  EXPECT_EQ(calls.load(), 50);
}

TEST_P(EveryPoolSize, NestedCallsRunInTheirCaller) {
  ThreadPool p(GetParam());
  std::atomic<int> calls{0}, foreign{0};
  run(p, 10, [&](int64_t) {
    const auto outer = std::this_thread::get_id();
    run(p, 10, [&](int64_t) {
      calls.fetch_add(1);
      if (std::this_thread::get_id() != outer) foreign.fetch_add(1);
    });
  });
  EXPECT_EQ(calls.load(), 100);
  EXPECT_EQ(foreign.load(), 0);
}

TEST_P(EveryPoolSize, TwoCallersAtOnceBothGetAllTheirIndices) {
  ThreadPool p(GetParam());
  std::array<std::atomic<int64_t>, 2> sums{};
  std::vector<std::thread> callers;
  for (size_t c = 0; c < 2; ++c) {
    callers.emplace_back([&, c] {
      for (int job = 0; job < 200; ++job) run(p, 10, [&, c](int64_t i) { sums[c].fetch_add(i); });
    });
  }
  for (std::thread& t : callers) t.join();
  EXPECT_EQ(sums[0].load(), 200 * 45);
  EXPECT_EQ(sums[1].load(), 200 * 45);
}

TEST(ThreadPool, WorkersAreNamed) {
  ThreadPool p(3);
  std::mutex mutex;
  std::set<std::string> names;
  const auto caller = std::this_thread::get_id();
  for (int job = 0; job < 200; ++job) {
    run(p, 64, [&](int64_t) {
      if (std::this_thread::get_id() == caller) return;
      char name[16] = {};
      pthread_getname_np(pthread_self(), name, sizeof name);
      std::lock_guard lock(mutex);
      names.insert(name);
    });
  }
  for (const std::string& name : names) EXPECT_TRUE(name == "pool/1" || name == "pool/2") << name;
}

TEST(ThreadPool, RefusesImpossibleSizes) {
  EXPECT_GRADUS_ERROR(ThreadPool(0), invalid_argument, "0 asked for");
  EXPECT_GRADUS_ERROR(set_pool_threads(257), invalid_argument, "257");
  EXPECT_GE(available_cpus(), 1);
}

TEST(ParallelFor, SeesTheSizeThatWasSet) {
  const int before = pool().size();
  for (int n : {1, 3, 2}) {
    set_pool_threads(n);
    EXPECT_EQ(pool().size(), n);
    std::atomic<int64_t> sum{0};
    parallel_for(100, [&](int64_t i) { sum.fetch_add(i); });
    EXPECT_EQ(sum.load(), 4950);
  }
  set_pool_threads(before);
}

TEST(ParallelRanges, CoverTheWholeOnceInPiecesOfTheGrain) {
  for (int64_t n : {0, 1, 63, 64, 65, 1000}) {
    std::vector<std::atomic<int>> calls(static_cast<size_t>(n));
    parallel_ranges(n, 64, [&](int64_t begin, int64_t end) {
      EXPECT_EQ(begin % 64, 0);
      EXPECT_LE(end - begin, 64);
      for (int64_t i = begin; i < end; ++i) calls.at(static_cast<size_t>(i)).fetch_add(1);
    });
    for (const auto& c : calls) EXPECT_EQ(c.load(), 1);
  }
}

}  // namespace
}  // namespace gradus
