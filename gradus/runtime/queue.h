// A bounded queue between threads. A full queue holds its producers back, an empty one its consumers; memory is taken
// once.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>
#include <vector>

#include "gradus/core/error.h"

namespace gradus::runtime {

// First in, first out; any number of producers and consumers. An item whose push returned true is handed out exactly
// once, also after close() and after a stop; items of one producer keep their order. T moves without throwing.
template <class T>
class BoundedQueue {
 public:
  // capacity  items, at least 1 (else throws invalid_argument); room for all of them is taken now
  explicit BoundedQueue(std::size_t capacity) {
    require(capacity > 0, "queue: the capacity is 0; it must be at least 1");
    slots_.resize(capacity);
  }
  BoundedQueue(const BoundedQueue&) = delete;
  BoundedQueue& operator=(const BoundedQueue&) = delete;

  // Waits while the queue is full. False once it is closed, or when `stop` is requested while it waits; then `item` is
  // untouched.
  template <class U = T>
  bool push(U&& item, std::stop_token stop = {}) {
    std::unique_lock lock(mutex_);
    if (!not_full_.wait(lock, std::move(stop), [&] { return closed_ || n_items_ < slots_.size(); })) return false;
    return append(std::forward<U>(item));
  }

  // Never waits. False when the queue is full or closed; then `item` is untouched.
  template <class U = T>
  bool try_push(U&& item) {
    const std::lock_guard lock(mutex_);
    return n_items_ < slots_.size() && append(std::forward<U>(item));
  }

  // Waits while the queue is empty. Empty once it is closed and drained, or when `stop` is requested while there is no
  // item.
  std::optional<T> pop(std::stop_token stop = {}) {
    std::unique_lock lock(mutex_);
    not_empty_.wait(lock, std::move(stop), [&] { return closed_ || n_items_ > 0; });
    return take();
  }

  // Never waits. Empty when there is no item.
  std::optional<T> try_pop() {
    const std::lock_guard lock(mutex_);
    return take();
  }

  // Refuses further items and wakes all who wait; what is inside can still be popped. Any thread, any number of times.
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    not_empty_.notify_all();
    not_full_.notify_all();
  }

  bool closed() const {
    const std::lock_guard lock(mutex_);
    return closed_;
  }
  std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return n_items_;
  }
  std::size_t capacity() const { return slots_.size(); }

 private:
  template <class U>
  bool append(U&& item) {
    if (closed_) return false;
    slots_[(first_ + n_items_) % slots_.size()].emplace(std::forward<U>(item));
    ++n_items_;
    not_empty_.notify_one();
    return true;
  }

  std::optional<T> take() {
    if (n_items_ == 0) return std::nullopt;
    std::optional<T> item = std::exchange(slots_[first_], std::nullopt);
    first_ = (first_ + 1) % slots_.size();
    --n_items_;
    not_full_.notify_one();
    return item;
  }

  mutable std::mutex mutex_;
  std::condition_variable_any not_empty_, not_full_;
  std::vector<std::optional<T>> slots_;  // a ring: n_items_ from first_ on
  std::size_t first_ = 0;
  std::size_t n_items_ = 0;
  bool closed_ = false;
};

}  // namespace gradus::runtime
