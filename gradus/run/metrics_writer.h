// The one thread that writes a run's logs, off the hot path: run.sqlite, metrics.jsonl and the TensorBoard events.
// Callers hand it rows through a bounded queue and wait only when the disk falls far behind.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gradus/run/database.h"
#include "gradus/run/events.h"
#include "gradus/run/output_file.h"

namespace gradus::run {

using Clock = std::function<double()>;  // seconds since 1970
using NamedValues = std::vector<std::pair<std::string, double>>;

struct LogSinks {
  Database database;
  OutputFile metrics_jsonl;
  EventFile events;
  Clock clock;
};

struct LogMarks {
  RowMarks rows{};
  int64_t jsonl_bytes = 0;
};

// One caller at a time. An error of the thread is thrown by the next call, and by every one after it: rows are never
// lost in silence.
class MetricsWriter {
 public:
  explicit MetricsWriter(LogSinks sinks);
  ~MetricsWriter();  // writes what was handed over, then ends; an error at that point is lost, so flush() first

  void log(int64_t step, std::string phase, NamedValues values);
  void log_rollouts(std::vector<Rollout> rollouts);

  // Waits until everything handed over is committed and would survive a power cut. Returns how far the logs go then.
  LogMarks flush();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gradus::run
