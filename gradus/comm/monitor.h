// A thread beside a group that keeps its rank alive in the eyes of the others, notices when one of them is not, and
// leaves word in files: what this rank is doing, for `gradus inspect RUN comm`, and its flight recorder when the group
// fails.
#pragma once

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <string>

#include "gradus/comm/group.h"
#include "gradus/runtime/thread.h"

namespace gradus::comm {

struct MonitorOptions {
  std::filesystem::path folder = {};  // RUN/comm, made when it is not there; empty: no files
  std::chrono::milliseconds interval{200};
  int restarts = 0;  // of the job
};

class Monitor {
 public:
  // Starts to watch at once.
  //   group  outlives the monitor
  explicit Monitor(Group& group, MonitorOptions options = {});
  ~Monitor();  // writes once more
  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;

  // From now on files go there. Any thread.
  //   rank-R.json   {rank, size, pid, host, transport, restarts, state (running, failed, left), sequence, in_flight,
  //                 call, algorithm, since (seconds of the epoch), error}; rewritten once a second while it changes
  //   rank-R.jsonl  the flight recorder, once the group has failed
  void write_to(const std::filesystem::path& folder);

 private:
  void remove_others() const;
  void run(const std::stop_token& stop);
  void report(std::string_view state);
  void write(const std::string& name, const std::string& text);

  Group& group_;
  MonitorOptions options_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::string last_report_;
  runtime::Thread thread_;  // last: it uses the rest
};

}  // namespace gradus::comm
