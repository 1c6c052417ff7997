#include "gradus/runtime/queue.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "gradus/core/error.h"

namespace gradus::runtime {
namespace {

struct Item {
  int producer, number;
  bool operator==(const Item&) const = default;
};

// Every consumer's items, in the order in which it popped them.
std::vector<std::vector<Item>> run_producers_and_consumers(int n_producers, int n_consumers, int n_items,
                                                           std::size_t capacity) {
  BoundedQueue<Item> queue(capacity);
  std::vector<std::vector<Item>> popped(static_cast<std::size_t>(n_consumers));
  std::vector<std::jthread> consumers;
  for (auto& mine : popped) {
    consumers.emplace_back([&queue, &mine] {
      while (const auto item = queue.pop()) mine.push_back(*item);
    });
  }
  {
    std::vector<std::jthread> producers;
    for (int p = 0; p < n_producers; ++p) {
      producers.emplace_back([&queue, p, n_items] {
        for (int i = 0; i < n_items; ++i) queue.push({p, i});
      });
    }
  }
  queue.close();
  consumers.clear();
  return popped;
}

TEST(BoundedQueue, EveryItemArrivesOnceAndInItsProducersOrder) {
  RC_ASSERT(rc::check("exactly once, in order per producer", [] {
    const int n_producers = *rc::gen::inRange(1, 5), n_consumers = *rc::gen::inRange(1, 5);
    const int n_items = *rc::gen::inRange(0, 200), capacity = *rc::gen::inRange(1, 9);
    const auto popped =
        run_producers_and_consumers(n_producers, n_consumers, n_items, static_cast<std::size_t>(capacity));
    std::vector<int> n_seen(static_cast<std::size_t>(n_producers * n_items));
    for (const auto& mine : popped) {
      std::vector<int> last(static_cast<std::size_t>(n_producers), -1);
      for (const Item& item : mine) {
        RC_ASSERT(item.number > last[static_cast<std::size_t>(item.producer)]);
        last[static_cast<std::size_t>(item.producer)] = item.number;
        ++n_seen[static_cast<std::size_t>(item.producer * n_items + item.number)];
      }
    }
    RC_ASSERT(std::all_of(n_seen.begin(), n_seen.end(), [](int n) { return n == 1; }));
  }));
}

TEST(BoundedQueue, BehavesLikeADequeWithALimit) {
  RC_ASSERT(rc::check("try_push and try_pop against std::deque", [](const std::vector<bool>& pushes) {
    BoundedQueue<int> queue(3);
    std::deque<int> model;
    int next = 0;
    for (const bool push : pushes) {
      if (push) {
        const bool room = model.size() < 3;
        RC_ASSERT(queue.try_push(next) == room);
        if (room) model.push_back(next);
        ++next;
      } else {
        const auto item = queue.try_pop();
        RC_ASSERT(item.has_value() == !model.empty());
        if (item) {
          RC_ASSERT(*item == model.front());
          model.pop_front();
        }
      }
      RC_ASSERT(queue.size() == model.size());
    }
  }));
}

TEST(BoundedQueue, CloseKeepsWhatIsInsideAndRefusesMore) {
  BoundedQueue<int> queue(2);
  EXPECT_TRUE(queue.push(1));
  EXPECT_TRUE(queue.push(2));
  queue.close();
  EXPECT_TRUE(queue.closed());
  EXPECT_FALSE(queue.push(3));
  EXPECT_FALSE(queue.try_push(3));
  EXPECT_EQ(queue.pop(), 1);
  EXPECT_EQ(queue.pop(), 2);
  EXPECT_EQ(queue.pop(), std::nullopt);
}

TEST(BoundedQueue, CloseWakesAProducerAndAConsumer) {
  BoundedQueue<int> full(1), empty(1);
  full.push(1);
  std::atomic<bool> pushed = true, popped = true;
  {
    std::jthread producer([&] { pushed = full.push(2); });
    std::jthread consumer([&] { popped = empty.pop().has_value(); });
    full.close();
    empty.close();
  }
  EXPECT_FALSE(pushed);
  EXPECT_FALSE(popped);
}

TEST(BoundedQueue, AStopEndsWaitingButNotWhatIsThere) {
  BoundedQueue<int> queue(1);
  std::stop_source stop;
  queue.push(1);
  std::atomic<bool> pushed = true;
  {
    std::jthread producer([&] { pushed = queue.push(2, stop.get_token()); });
    stop.request_stop();
  }
  EXPECT_FALSE(pushed);
  EXPECT_EQ(queue.pop(stop.get_token()), 1);
  EXPECT_EQ(queue.pop(stop.get_token()), std::nullopt);
  EXPECT_FALSE(queue.closed());
}

TEST(BoundedQueue, ARefusedItemStaysWithItsOwner) {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  EXPECT_TRUE(queue.push(std::make_unique<int>(1)));
  auto item = std::make_unique<int>(2);
  EXPECT_FALSE(queue.try_push(std::move(item)));
  ASSERT_NE(item, nullptr);
  EXPECT_EQ(**queue.pop(), 1);
  EXPECT_TRUE(queue.try_push(std::move(item)));
  EXPECT_EQ(item, nullptr);
}

TEST(BoundedQueue, ReleasesAPoppedItemsMemory) {
  BoundedQueue<std::shared_ptr<int>> queue(4);
  auto item = std::make_shared<int>(1);
  queue.push(item);
  queue.pop();
  EXPECT_EQ(item.use_count(), 1);
}

TEST(BoundedQueue, CapacityZeroIsRefused) {
  EXPECT_THROW(BoundedQueue<int>(0), Error);
}

}  // namespace
}  // namespace gradus::runtime
