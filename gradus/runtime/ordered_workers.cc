#include "gradus/runtime/ordered_workers.h"

#include "gradus/core/error.h"

namespace gradus::runtime {

namespace {

// Pauses before a waiting thread sleeps: about 20 us, longer than a small network takes between two batches.
constexpr int kSpins = 600;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

OrderedWorkers::OrderedWorkers(std::string_view role, int n_threads, uint64_t capacity, Body body)
    : body_(std::move(body)), alone_(n_threads == 1), done_(capacity) {
  require(n_threads >= 1 && n_threads <= 256, "{}: {} threads asked for, but 1 to 256 are possible", role, n_threads);
  require(capacity >= 1, "{}: a capacity of 0 items; at least 1 is needed", role);
  for (int i = 0; i + 1 < n_threads; ++i) {
    threads_.emplace_back(role, i, [this](const std::stop_token& stop) { work(stop); });
  }
}

void OrderedWorkers::append(uint64_t n_items) {
  GRADUS_CHECK(end() + n_items - finished_ <= done_.size());
  end_.store(end() + n_items, std::memory_order_release);
  if (alone_) return;
  wake_.fetch_add(1);  // seq_cst: either a thread sees this before it sleeps, or we see it sleeping
  if (sleeping_.load() > 0) wake_.notify_all();
}

void OrderedWorkers::finish(uint64_t end) {
  GRADUS_CHECK(end <= this->end());
  for (; finished_ < end; ++finished_) wait_done(finished_);
}

void OrderedWorkers::wait_done(uint64_t item) {
  const std::atomic<uint32_t>& count = done_[item % done_.size()].count;
  const auto wanted = static_cast<uint32_t>(item / done_.size() + 1);
  while (count.load(std::memory_order_acquire) != wanted) {
    if (work_one()) continue;
    for (int spin = 0; count.load(std::memory_order_acquire) != wanted && spin < kSpins; ++spin) pause();
    if (count.load() != wanted) count.wait(wanted - 1);
  }
}

// The oldest item that nobody has begun.
bool OrderedWorkers::work_one() {
  uint64_t item = claimed_.load(std::memory_order_relaxed);
  do {
    if (item >= end_.load(std::memory_order_acquire)) return false;
  } while (!claimed_.compare_exchange_weak(item, item + 1, std::memory_order_relaxed));
  body_(item);
  std::atomic<uint32_t>& count = done_[item % done_.size()].count;
  count.fetch_add(1);  // seq_cst, for the owner that is about to sleep
  if (!alone_) count.notify_one();
  return true;
}

void OrderedWorkers::work(const std::stop_token& stop) {
  const std::stop_callback wake_at_stop(stop, [this] {
    wake_.fetch_add(1);
    wake_.notify_all();
  });
  while (true) {
    const uint32_t seen = wake_.load();  // before looking for a reason to stay awake
    if (stop.stop_requested()) return;
    if (work_one()) continue;
    for (int spin = 0; wake_.load(std::memory_order_relaxed) == seen && spin < kSpins; ++spin) pause();
    sleeping_.fetch_add(1);
    wake_.wait(seen);
    sleeping_.fetch_sub(1);
  }
}

}  // namespace gradus::runtime
