// The flight recorder: what a rank called last, for the question who was missing. Written to a file when a group fails.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
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

  uint64_t calls() const;              // so far
  std::vector<Entry> entries() const;  // the last kKept at most, oldest first. Any thread.

  // One JSON object per line: rank, sequence, operation, op, dtype, count, root, site, algorithm, state (done, in
  // flight), start and duration in us.
  std::string to_json_lines(int rank) const;

 private:
  Entry& current() { return ring_[(calls_ - 1) % kKept]; }

  mutable std::mutex mutex_;
  std::vector<Entry> ring_;
  uint64_t calls_ = 0;
  int64_t first_tick_;
  std::chrono::system_clock::time_point first_time_;
};

}  // namespace gradus::comm
