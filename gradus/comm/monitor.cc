#include "gradus/comm/monitor.h"

#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "gradus/comm/rendezvous.h"
#include "gradus/core/error.h"
#include "gradus/core/json.h"

namespace gradus::comm {

namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kBetweenReports{1'000};

double seconds_of_the_epoch() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

Monitor::Monitor(Group& group, MonitorOptions options)
    : group_(group),
      options_(std::move(options)),
      thread_("comm-watch", 0, [this](std::stop_token stop) { run(stop); }) {}

Monitor::~Monitor() {
  thread_.request_stop();
  try {
    thread_.join();
  } catch (const std::exception&) {
    // What the files would have said is lost; the group's own errors reach its callers.
  }
}

void Monitor::write_to(const std::filesystem::path& folder) {
  const std::lock_guard lock(mutex_);
  options_.folder = folder;
  last_report_.clear();
  if (group_.rank() == 0) remove_others();
  wake_.notify_all();
}

// Reports of an earlier start with more ranks.
void Monitor::remove_others() const {
  std::error_code ignored;
  for (int r = group_.size();; ++r) {
    const std::filesystem::path report = options_.folder / fmt::format("rank-{}.json", r);
    std::filesystem::remove(options_.folder / fmt::format("rank-{}.jsonl", r), ignored);
    if (!std::filesystem::remove(report, ignored)) return;
  }
}

void Monitor::run(const std::stop_token& stop) {
  auto next_report = steady_clock::now();
  bool stopping = false, failed = false;
  while (!stopping) {
    stopping = stop.stop_requested();  // a group that failed just before has its last turn
    group_.transport().watch();
    const bool fails_now = !failed && group_.transport().aborted().has_value();
    failed = failed || fails_now;
    if (fails_now) {
      write(fmt::format("rank-{}.jsonl", group_.rank()), group_.recorder().to_json_lines(group_.rank()));
    }
    if (fails_now || stopping || steady_clock::now() >= next_report) {
      report(failed ? "failed" : stopping ? "left" : "running");
      next_report = steady_clock::now() + kBetweenReports;
    }
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, stop, options_.interval, [] { return false; });
  }
}

void Monitor::report(std::string_view state) {
  const std::vector<Recorder::Entry> entries = group_.recorder().entries();
  nlohmann::ordered_json j = {{"rank", group_.rank()},
                              {"size", group_.size()},
                              {"pid", ::getpid()},
                              {"host", host_name()},
                              {"transport", group_.transport_name()},
                              {"restarts", options_.restarts},
                              {"state", state},
                              {"sequence", 0}};
  if (!entries.empty()) {
    const Recorder::Entry& last = entries.back();
    j["sequence"] = last.call.sequence;
    j["in_flight"] = last.ended == 0;
    j["call"] = to_string(last.call);
    j["algorithm"] = last.algorithm;
  }
  if (const std::optional<Error> error = group_.transport().aborted()) j["error"] = error->what();
  const std::string text = write_json(j);
  {
    const std::lock_guard lock(mutex_);
    if (text == last_report_) return;
    last_report_ = text;
  }
  j["since"] = seconds_of_the_epoch();
  write(fmt::format("rank-{}.json", group_.rank()), write_json(j) + '\n');
}

// Replaces the file as a whole, without waiting for the disk: this is for whoever looks now. A full disk costs the
// report, not the training.
void Monitor::write(const std::string& name, const std::string& text) {
  std::filesystem::path folder;
  {
    const std::lock_guard lock(mutex_);
    folder = options_.folder;
  }
  if (folder.empty()) return;
  std::error_code ignored;
  std::filesystem::create_directories(folder, ignored);
  const std::filesystem::path beside = folder / (name + ".new");
  if (std::ofstream out(beside, std::ios::binary); !(out << text << std::flush)) return;
  std::filesystem::rename(beside, folder / name, ignored);
}

}  // namespace gradus::comm
