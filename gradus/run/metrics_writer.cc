#include "gradus/run/metrics_writer.h"

#include <exception>
#include <future>
#include <mutex>
#include <nlohmann/json.hpp>
#include <variant>

#include "gradus/core/error.h"
#include "gradus/core/json.h"
#include "gradus/runtime/queue.h"
#include "gradus/runtime/thread.h"

namespace gradus::run {

namespace {

constexpr size_t kQueueItems = 256;  // rows and whole iterations of rollouts; more only hides a disk that is too slow

struct MetricsRow {
  int64_t step = 0;
  std::string phase;
  NamedValues values;
};

using FlushRequest = std::promise<LogMarks>;
using Item = std::variant<MetricsRow, std::vector<Rollout>, FlushRequest>;

// {"step":3,"phase":"k15","reward_mean":0.5}; numbers read back as they were, NaN and infinity become null.
std::string json_line(const MetricsRow& row) {
  nlohmann::ordered_json j;
  j["step"] = row.step;
  j["phase"] = row.phase;
  for (const auto& [name, value] : row.values) j[name] = value;
  return write_json(j) + '\n';
}

}  // namespace

struct MetricsWriter::State {
  explicit State(LogSinks s) : sinks(std::move(s)) {}

  void run() {
    while (auto item = queue.pop()) std::visit([&](auto& x) { take(x); }, *item);
  }

  // After an error rows are dropped: the caller hears of it, and must not wait on a full queue.
  template <class Rows>
  void take(Rows& rows) {
    if (current_error()) return;
    try {
      write(rows);
    } catch (...) {
      sinks.database.rollback();
      const std::lock_guard lock(mutex);
      error = std::current_exception();
    }
  }

  void take(FlushRequest& request) {
    try {
      if (const auto e = current_error()) std::rethrow_exception(e);
      sinks.metrics_jsonl.sync();
      sinks.database.sync();
      request.set_value({sinks.database.marks(), sinks.metrics_jsonl.size()});
    } catch (...) {
      request.set_exception(std::current_exception());
    }
  }

  void write(const MetricsRow& row) {
    sinks.database.begin();
    for (const auto& [name, value] : row.values) sinks.database.add(Metric{row.step, row.phase, name, value});
    sinks.database.commit();
    sinks.metrics_jsonl.append(json_line(row));
    sinks.events.add(row.step, sinks.clock(), row.phase, row.values);
  }

  void write(const std::vector<Rollout>& rollouts) {
    sinks.database.begin();
    for (const Rollout& r : rollouts) sinks.database.add(r);
    sinks.database.commit();
  }

  std::exception_ptr current_error() {
    const std::lock_guard lock(mutex);
    return error;
  }

  void push(Item item) {
    if (const auto e = current_error()) std::rethrow_exception(e);
    GRADUS_CHECK(queue.push(std::move(item)));
  }

  LogSinks sinks;  // the thread's own while it runs
  runtime::BoundedQueue<Item> queue{kQueueItems};
  std::mutex mutex;
  std::exception_ptr error;                                                         // guarded by mutex
  runtime::Thread thread{"metrics", 0, [this](const std::stop_token&) { run(); }};  // last: it uses all above
};

MetricsWriter::MetricsWriter(LogSinks sinks) : state_(std::make_unique<State>(std::move(sinks))) {}

MetricsWriter::~MetricsWriter() {
  state_->queue.close();
  state_->thread.join();
}

void MetricsWriter::log(int64_t step, std::string phase, NamedValues values) {
  state_->push(MetricsRow{step, std::move(phase), std::move(values)});
}

void MetricsWriter::log_rollouts(std::vector<Rollout> rollouts) {
  for (const Rollout& r : rollouts) {
    require(r.log_probs.size() == r.tokens.size(), "rollout {} of iteration {}: {} log_probs for {} tokens",
            r.sample_index, r.iteration, r.log_probs.size(), r.tokens.size());
  }
  state_->push(std::move(rollouts));
}

LogMarks MetricsWriter::flush() {
  FlushRequest request;
  auto marks = request.get_future();
  state_->push(std::move(request));
  return marks.get();
}

}  // namespace gradus::run
