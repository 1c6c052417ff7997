#include "gradus/comm/recorder.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "gradus/comm/ticks.h"
#include "gradus/core/json.h"

namespace gradus::comm {

Recorder::Recorder()
    : places_(std::make_unique<std::array<Place, kPlaces>>()),
      first_tick_(ticks()),
      first_time_(std::chrono::system_clock::now()) {}

void Recorder::start(const Call& call) {
  uint64_t words[sizeof(Call) / sizeof(uint64_t)];
  std::memcpy(words, &call, sizeof call);
  const uint64_t n = calls_.load(std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);  // who reads what follows finds n calls at least
  Place& p = place(n);
  for (size_t i = 0; i < std::size(words); ++i) p.call[i].store(words[i], std::memory_order_relaxed);
  p.algorithm_length.store(0, std::memory_order_relaxed);
  p.started.store(ticks(), std::memory_order_relaxed);
  p.ended.store(0, std::memory_order_relaxed);
  calls_.store(n + 1, std::memory_order_release);
}

void Recorder::chose(std::string_view algorithm) {
  current().algorithm.store(algorithm.data(), std::memory_order_relaxed);
  current().algorithm_length.store(algorithm.size(), std::memory_order_release);
}

void Recorder::end() {
  current().ended.store(ticks(), std::memory_order_relaxed);
}

std::vector<Recorder::Entry> Recorder::entries() const {
  const uint64_t end = calls(), begin = end - std::min<uint64_t>(end, kKept);
  std::vector<Entry> entries;
  for (uint64_t n = begin; n < end; ++n) {
    const Place& p = place(n);
    uint64_t words[sizeof(Call) / sizeof(uint64_t)];
    for (size_t i = 0; i < std::size(words); ++i) words[i] = p.call[i].load(std::memory_order_relaxed);
    Entry e;
    std::memcpy(static_cast<void*>(&e.call), words, sizeof words);
    const size_t length = p.algorithm_length.load(std::memory_order_acquire);
    e.algorithm = {p.algorithm.load(std::memory_order_relaxed), length};
    e.started = p.started.load(std::memory_order_relaxed);
    e.ended = p.ended.load(std::memory_order_relaxed);
    entries.push_back(e);
  }
  std::atomic_thread_fence(std::memory_order_acquire);
  // A place is written again by the kPlaces-th call after it.
  const uint64_t now = calls_.load(std::memory_order_relaxed);
  const uint64_t intact = now < kPlaces ? 0 : now - kPlaces + 1;
  if (intact > begin)
    entries.erase(entries.begin(), entries.begin() + static_cast<int64_t>(std::min(intact, end) - begin));
  return entries;
}

std::string Recorder::to_json_lines(int rank) const {
  const double elapsed_us =
      std::chrono::duration<double, std::micro>(std::chrono::system_clock::now() - first_time_).count();
  const double us_per_tick = elapsed_us / static_cast<double>(std::max<int64_t>(1, ticks() - first_tick_));
  const double epoch_us = std::chrono::duration<double, std::micro>(first_time_.time_since_epoch()).count();
  std::string lines;
  for (const Entry& e : entries()) {
    const bool done = e.ended != 0;
    lines += write_json(nlohmann::ordered_json{
                 {"rank", rank},
                 {"sequence", e.call.sequence},
                 {"operation", name(e.call.operation)},
                 {"op", kernels::name(e.call.op)},
                 {"dtype", gradus::name(e.call.dtype)},
                 {"count", e.call.count},
                 {"root", e.call.root},
                 {"site", fmt::format("{}:{}", e.call.file, e.call.line)},
                 {"algorithm", e.algorithm},
                 {"state", done ? "done" : "in flight"},
                 {"started_us", std::llround(epoch_us + static_cast<double>(e.started - first_tick_) * us_per_tick)},
                 {"duration_us", done ? static_cast<double>(e.ended - e.started) * us_per_tick : 0.0}}) +
             '\n';
  }
  return lines;
}

}  // namespace gradus::comm
