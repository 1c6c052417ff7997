// gradus inspect PID|RUN threads [--json]: what a running Gradus process does, seen from outside.
#include "gradus/runtime/inspect.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "apps/gradus/command.h"
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
  command.add_option("SUBJECT", o.subject, "what to show: threads")->required()->check(CLI::IsMember({"threads"}));
  command.add_flag("--json", o.json, "one JSON object per thread");
}

// Digits are a process id; a run folder with such a name is given as ./123.
pid_t find_process(const std::string& target) {
  if (target.empty() || target.find_first_not_of("0123456789") != target.npos) return runtime::pid_of_run(target);
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(target.data(), target.data() + target.size(), pid);
  if (error != std::errc{}) throw UsageError(fmt::format("inspect: {} is too large for a process id", target));
  return pid;
}

int inspect(const InspectOptions& o, Output& out) {
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

}  // namespace

void add_inspect_command(CLI::App& app, Work& work) {
  add_command(app, work, "inspect", "Show what a running Gradus process does", declare, inspect);
}

}  // namespace gradus::app
