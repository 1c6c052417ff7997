// Named threads that work off numbered items 0, 1, 2, ... in order: environments stepped in batches. The owner says how
// many items there are by now, and works, too, while it waits for them. Compute loops live in
// gradus/core/thread_pool.h.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "gradus/runtime/thread.h"

namespace gradus::runtime {

// Neither appending nor finishing takes a lock or allocates; threads without work spin for some 20 us, then sleep in
// the kernel. One owner calls its functions.
class OrderedWorkers {
 public:
  using Body = std::function<void(uint64_t item)>;

  // Starts n_threads - 1 threads "role/0", "role/1", ...: the owner is one of n_threads.
  //   body      on any of the threads, several items at a time; must not throw
  //   capacity  most items that are appended and not finished
  // Throws invalid_argument unless 1 <= n_threads <= 256 and capacity >= 1, or on a bad role; exhausted if the system
  // refuses a thread.
  OrderedWorkers(std::string_view role, int n_threads, uint64_t capacity, Body body);
  ~OrderedWorkers() = default;  // what was appended and not begun is dropped
  OrderedWorkers(const OrderedWorkers&) = delete;
  OrderedWorkers& operator=(const OrderedWorkers&) = delete;

  uint64_t end() const { return end_.load(std::memory_order_relaxed); }  // items appended so far

  // What the owner wrote before is seen by the bodies. Wakes who sleeps; costs two atomic writes where nobody does.
  void append(uint64_t n_items);

  // Returns when all items below `end` are done; what their bodies wrote is then seen by the owner.
  void finish(uint64_t end);

 private:
  struct alignas(64) Done {
    std::atomic<uint32_t> count{0};  // how often the item at this place was done
  };

  bool work_one();
  void work(const std::stop_token& stop);
  void wait_done(uint64_t item);

  Body body_;
  bool alone_;  // no threads but the owner
  uint64_t finished_ = 0;
  std::vector<Done> done_;  // [capacity], of item i at i % capacity
  alignas(64) std::atomic<uint64_t> end_{0};
  std::atomic<uint32_t> wake_{0};
  std::atomic<int> sleeping_{0};
  alignas(64) std::atomic<uint64_t> claimed_{0};
  std::vector<Thread> threads_;  // last: they end before the rest goes
};

}  // namespace gradus::runtime
