// gradus inspect PID|RUN threads|processes|comm [--json]: what a running Gradus process does, seen from outside.
#include "gradus/runtime/inspect.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <nlohmann/json.hpp>

#include "apps/gradus/command.h"
#include "gradus/comm/inspect.h"
#include "gradus/core/error.h"

namespace gradus::app {

namespace {

struct InspectOptions {
  std::string target;
  std::string subject;
  bool json = false;
};

void declare(CLI::App& command, InspectOptions& o) {
  command.add_option("PID|RUN", o.target, "a process id, or the folder of a run that is going on")->required();
  command.add_option("SUBJECT", o.subject, "what to show: threads; of a run with several ranks also processes, comm")
      ->required()
      ->check(CLI::IsMember({"threads", "processes", "comm"}));
  command.add_flag("--json", o.json, "one JSON object per thread, process or rank");
}

// Digits are a process id; a run folder with such a name is given as ./123.
pid_t find_process(const std::string& target) {
  if (target.empty() || target.find_first_not_of("0123456789") != target.npos) return runtime::pid_of_run(target);
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(target.data(), target.data() + target.size(), pid);
  if (error != std::errc{}) throw UsageError(fmt::format("inspect: {} is too large for a process id", target));
  return pid;
}

int show_threads(const InspectOptions& o, Output& out) {
  const auto threads = runtime::list_threads(find_process(o.target));
  if (o.json) {
    for (const auto& t : threads) {
      out.json_line(
          {{"id", t.id}, {"name", t.name}, {"role", t.role}, {"state", t.state}, {"cpu_time_ms", t.cpu_time_ms}});
    }
    return kDone;
  }
  std::vector<std::vector<std::string>> rows;
  for (const auto& t : threads) {
    const double cpu_time_s = static_cast<double>(t.cpu_time_ms) / 1000;
    rows.push_back({fmt::format("{}", t.id), t.name, t.role, t.state, fmt::format("{:.2f} s", cpu_time_s)});
  }
  out.text(format_table({{"id", true}, {"name"}, {"role"}, {"state"}, {"cpu time", true}}, rows));
  return kDone;
}

double now_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string ago(double seconds) {
  return fmt::format("{:.0f} s ago", std::max(0.0, seconds));
}

int show_processes(const InspectOptions& o, Output& out) {
  const std::vector<comm::RankReport> ranks = comm::ranks_of_run(o.target);
  const pid_t launcher = ranks.front().parent;
  const auto parent = runtime::find_process(launcher);
  const bool launched = parent && parent->is_gradus;
  if (o.json) {
    if (launched) {
      out.json_line({{"role", "launcher"},
                     {"pid", launcher},
                     {"state", parent->state},
                     {"resident_bytes", parent->resident_bytes},
                     {"restarts", ranks.front().restarts}});
    }
    for (const comm::RankReport& r : ranks) {
      out.json_line({{"role", "rank"},
                     {"rank", r.rank},
                     {"size", r.size},
                     {"pid", r.pid},
                     {"host", r.host},
                     {"state", r.state},
                     {"resident_bytes", r.resident_bytes},
                     {"restarts", r.restarts},
                     {"error", r.error}});
    }
    return kDone;
  }
  const auto memory = [](int64_t bytes) {
    return bytes == 0 ? std::string("-") : fmt::format("{:.0f} MB", static_cast<double>(bytes) / 1e6);
  };
  std::vector<std::vector<std::string>> rows;
  if (launched) {
    rows.push_back({"launcher", fmt::format("{}", launcher), ranks.front().host, parent->state,
                    memory(parent->resident_bytes), fmt::format("{}", ranks.front().restarts)});
  }
  for (const comm::RankReport& r : ranks) {
    rows.push_back({fmt::format("rank {}", r.rank), fmt::format("{}", r.pid), r.host, r.state, memory(r.resident_bytes),
                    fmt::format("{}", r.restarts)});
  }
  out.text(format_table({{"process"}, {"id", true}, {"host"}, {"state"}, {"memory", true}, {"restarts", true}}, rows));
  return kDone;
}

int show_comm(const InspectOptions& o, Output& out) {
  const std::vector<comm::RankReport> ranks = comm::ranks_of_run(o.target);
  const std::vector<int> missing = comm::missing_ranks(ranks, now_s());
  const auto is_missing = [&](int rank) { return std::ranges::find(missing, rank) != missing.end(); };
  if (o.json) {
    for (const comm::RankReport& r : ranks) {
      out.json_line({{"rank", r.rank},
                     {"transport", r.transport},
                     {"state", r.state},
                     {"sequence", r.sequence},
                     {"in_flight", r.in_flight},
                     {"call", r.call},
                     {"algorithm", r.algorithm},
                     {"unchanged_s", now_s() - r.since_s},
                     {"missing", is_missing(r.rank)},
                     {"error", r.error}});
    }
    return kDone;
  }
  std::vector<std::vector<std::string>> rows;
  for (const comm::RankReport& r : ranks) {
    rows.push_back({fmt::format("{}", r.rank), r.state, r.transport, fmt::format("{}", r.sequence),
                    is_missing(r.rank) ? "missing"
                    : r.in_flight      ? "in flight"
                                       : "done",
                    r.call, ago(now_s() - r.since_s)});
  }
  out.text(format_table({{"rank", true}, {"state"}, {"over"}, {"calls", true}, {"last"}, {"call"}, {"changed", true}},
                        rows));
  for (const comm::RankReport& r : ranks) {
    if (!r.error.empty()) {
      out.text(fmt::format("\nrank {}: {}\n", r.rank, r.error));
      break;  // all ranks have the same
    }
  }
  return kDone;
}

int inspect(const InspectOptions& o, Output& out) {
  if (o.subject == "threads") return show_threads(o, out);
  return o.subject == "processes" ? show_processes(o, out) : show_comm(o, out);
}

}  // namespace

void add_inspect_command(CLI::App& app, Work& work) {
  add_command(app, work, "inspect", "Show what a running Gradus process does", declare, inspect);
}

}  // namespace gradus::app
