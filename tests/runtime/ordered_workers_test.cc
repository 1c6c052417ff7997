#include "gradus/runtime/ordered_workers.h"

#include <rapidcheck.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "tests/core/expect_error.h"

namespace gradus::runtime {
namespace {

TEST(OrderedWorkers, DoEachItemOnceAndShowWhatItWrote) {
  RC_ASSERT(rc::check("append, finish", [](const std::vector<uint8_t>& rounds) {
    const auto n_threads = *rc::gen::inRange(1, 5);
    constexpr uint64_t kCapacity = 7;
    std::vector<int> done(rounds.size() * kCapacity);  // not atomic: finish() alone makes it readable
    OrderedWorkers workers("test", n_threads, kCapacity, [&](uint64_t item) { done[item] += 1; });
    uint64_t finished = 0;
    for (const uint8_t round : rounds) {
      const uint64_t room = kCapacity - (workers.end() - finished);
      workers.append(round % (room + 1));
      const uint64_t under_way = workers.end() - finished;
      finished += round / 16 % (under_way + 1);
      workers.finish(finished);
      for (uint64_t i = 0; i < finished; ++i) RC_ASSERT(done[i] == 1);
    }
    workers.finish(workers.end());
    for (uint64_t i = 0; i < workers.end(); ++i) RC_ASSERT(done[i] == 1);
  }));
}

TEST(OrderedWorkers, TheOwnerWorksAlone) {
  int sum = 0;
  OrderedWorkers workers("test", 1, 3, [&](uint64_t item) { sum += static_cast<int>(item); });
  workers.append(3);
  EXPECT_EQ(sum, 0);
  workers.finish(2);
  EXPECT_EQ(sum, 1);
}

TEST(OrderedWorkers, ThreadsBearTheirRole) {
  const OrderedWorkers workers("bee", 3, 1, [](uint64_t) {});
  std::set<std::string> names;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    names.insert(name);
  }
  EXPECT_TRUE(names.contains("bee/0"));
  EXPECT_TRUE(names.contains("bee/1"));
}

TEST(OrderedWorkers, EndWhileTheySleepOrWork) {
  for (int i = 0; i < 100; ++i) {
    OrderedWorkers workers("test", 3, 4, [](uint64_t) {});
    workers.append(static_cast<uint64_t>(i % 5));
  }
}

TEST(OrderedWorkers, RefuseANumberOfThreadsThatCannotBe) {
  EXPECT_GRADUS_ERROR(OrderedWorkers("test", 0, 1, [](uint64_t) {}), invalid_argument, "test: 0 threads asked for");
  EXPECT_GRADUS_ERROR(OrderedWorkers("test", 1, 0, [](uint64_t) {}), invalid_argument, "capacity of 0");
}

}  // namespace
}  // namespace gradus::runtime
