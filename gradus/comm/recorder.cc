#include "gradus/comm/recorder.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "gradus/comm/ticks.h"
#include "gradus/core/json.h"

namespace gradus::comm {

Recorder::Recorder() : ring_(kKept), first_tick_(ticks()), first_time_(std::chrono::system_clock::now()) {}

void Recorder::start(const Call& call) {
  const std::lock_guard lock(mutex_);
  ++calls_;
  current() = {.call = call, .algorithm = {}, .started = ticks()};
}

void Recorder::chose(std::string_view algorithm) {
  const std::lock_guard lock(mutex_);
  current().algorithm = algorithm;
}

void Recorder::end() {
  const std::lock_guard lock(mutex_);
  current().ended = ticks();
}

uint64_t Recorder::calls() const {
  const std::lock_guard lock(mutex_);
  return calls_;
}

std::vector<Recorder::Entry> Recorder::entries() const {
  const std::lock_guard lock(mutex_);
  const uint64_t n = std::min<uint64_t>(calls_, kKept);
  std::vector<Entry> entries;
  for (uint64_t i = calls_ - n; i < calls_; ++i) entries.push_back(ring_[i % kKept]);
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
