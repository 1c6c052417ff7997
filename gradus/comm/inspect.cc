#include "gradus/comm/inspect.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "gradus/comm/rendezvous.h"
#include "gradus/core/error.h"
#include "gradus/core/file.h"
#include "gradus/core/json.h"
#include "gradus/runtime/inspect.h"

namespace gradus::comm {

namespace {

RankReport parse_report(const std::filesystem::path& path) {
  const nlohmann::json j = parse_json(read_file(path), path.string());
  try {
    return {.rank = j.at("rank").get<int>(),
            .size = j.at("size").get<int>(),
            .pid = j.at("pid").get<pid_t>(),
            .host = j.at("host").get<std::string>(),
            .transport = j.at("transport").get<std::string>(),
            .restarts = j.at("restarts").get<int>(),
            .state = j.at("state").get<std::string>(),
            .sequence = j.at("sequence").get<uint64_t>(),
            .in_flight = j.value("in_flight", false),
            .call = j.value("call", ""),
            .algorithm = j.value("algorithm", ""),
            .error = j.value("error", ""),
            .since_s = j.at("since").get<double>()};
  } catch (const nlohmann::json::exception& e) {
    fail(ErrorCode::corrupt, "{}: not the report of a rank: {}", path.string(), e.what());
  }
}

// What /proc knows better than the report.
void look_at_process(RankReport& r) {
  if (r.host != host_name()) return;
  const auto process = runtime::find_process(r.pid);
  if (!process || !process->is_gradus) {  // or another program bears its number by now
    if (r.state == "running") r.state = "gone";
    return;
  }
  r.resident_bytes = process->resident_bytes;
  r.parent = process->parent;
  if (r.state == "running" && process->state != "running" && process->state != "sleeping") r.state = process->state;
}

}  // namespace

std::vector<RankReport> ranks_of_run(const std::filesystem::path& run_dir) {
  std::vector<RankReport> ranks;
  std::error_code none;
  for (std::filesystem::directory_iterator i(run_dir / "comm", none), end; !none && i != end; i.increment(none)) {
    const std::string name = i->path().filename().string();
    if (name.starts_with("rank-") && name.ends_with(".json")) ranks.push_back(parse_report(i->path()));
  }
  if (ranks.empty()) {
    fail(ErrorCode::not_found,
         "run {}: no ranks have reported there; start several with `gradus launch -n 2 -- train ...`",
         run_dir.string());
  }
  std::ranges::sort(ranks, {}, &RankReport::rank);
  for (RankReport& r : ranks) look_at_process(r);
  return ranks;
}

std::vector<int> missing_ranks(const std::vector<RankReport>& ranks, double now_s, double patience_s) {
  uint64_t awaited = 0;
  for (const RankReport& r : ranks) {
    if (r.in_flight && now_s - r.since_s > patience_s) awaited = std::max(awaited, r.sequence);
  }
  std::vector<int> missing;
  for (const RankReport& r : ranks) {
    if (r.sequence < awaited) missing.push_back(r.rank);
  }
  return missing;
}

}  // namespace gradus::comm
