// The flight recorder: what a rank called last, for the question who was missing. Written to a file when a group fails.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gradus/comm/transport.h"

namespace gradus::comm {

class Recorder {
 public:
  static constexpr size_t kKept = 1000;  // calls

  struct Entry {
    Call call;
    std::string_view algorithm;      // of static life
    int64_t started = 0, ended = 0;  // ticks; ended 0: in flight, or failed
  };

  Recorder();

  // Of the call in hand. One thread.
  void start(const Call& call);
  void chose(std::string_view algorithm);
  void end();

  uint64_t calls() const { return calls_.load(std::memory_order_acquire); }  // so far
  std::vector<Entry> entries() const;  // the last kKept at most, oldest first. Any thread.

  // One JSON object per line: rank, sequence, operation, op, dtype, count, root, site, algorithm, state (done, in
  // flight), start and duration in us.
  std::string to_json_lines(int rank) const;

 private:
  // An entry as words that one thread writes and any may read meanwhile.
  struct Place {
    std::array<std::atomic<uint64_t>, sizeof(Call) / sizeof(uint64_t)> call{};
    std::atomic<const char*> algorithm{nullptr};
    std::atomic<size_t> algorithm_length{0};
    std::atomic<int64_t> started{0}, ended{0};
  };
  static constexpr size_t kPlaces = 1024;  // more than kKept: what is read is not what is overwritten next
  Place& place(uint64_t n) const { return (*places_)[n % kPlaces]; }  // of the n-th call, from 0
  Place& current() { return place(calls_.load(std::memory_order_relaxed) - 1); }

  std::unique_ptr<std::array<Place, kPlaces>> places_;
  std::atomic<uint64_t> calls_{0};
  int64_t first_tick_;
  std::chrono::system_clock::time_point first_time_;
};

}  // namespace gradus::comm
