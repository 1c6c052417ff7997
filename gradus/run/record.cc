#include "gradus/run/record.h"

#include <nlohmann/json.hpp>
#include <set>

#include "gradus/core/error.h"
#include "gradus/core/thread_pool.h"
#include "gradus/kernels/isa.h"
#include "gradus/kernels/versions.h"

namespace gradus::run {

std::string_view git_commit() {
  return GRADUS_GIT_COMMIT;
}

Record record_of_this_process(std::vector<std::string> command_line) {
  Record record;
  record.versions = kernels::library_versions();
  record.isa = kernels::name(kernels::active_isa());
  record.threads = pool().size();
  record.command_line = std::move(command_line);
  return record;
}

std::vector<std::string> differences(const Record& before, const Record& now) {
  std::vector<std::string> lines;
  const auto compare = [&](std::string_view what, std::string_view was, std::string_view is) {
    if (was != is) lines.push_back(fmt::format("{} was {} and is {} now", what, was, is));
  };
  const auto version = [](const Record& record, const std::string& library) -> std::string_view {
    const auto it = record.versions.find(library);
    return it == record.versions.end() ? "absent" : std::string_view(it->second);
  };
  std::set<std::string> libraries;
  for (const auto& [library, _] : before.versions) libraries.insert(library);
  for (const auto& [library, _] : now.versions) libraries.insert(library);

  compare("isa", before.isa, now.isa);
  compare("git commit", before.git_commit, now.git_commit);
  for (const std::string& library : libraries) compare(library, version(before, library), version(now, library));
  return lines;
}

nlohmann::ordered_json to_json(const Record& record) {
  nlohmann::ordered_json j;
  j["started"] = record.started;
  j["git_commit"] = record.git_commit;
  j["isa"] = record.isa;
  j["threads"] = record.threads;
  j["command_line"] = record.command_line;
  j["versions"] = record.versions;
  return j;
}

Record parse_record(const nlohmann::json& j, std::string_view origin) {
  try {
    Record record;
    j.at("started").get_to(record.started);
    j.at("git_commit").get_to(record.git_commit);
    j.at("isa").get_to(record.isa);
    j.at("threads").get_to(record.threads);
    j.at("command_line").get_to(record.command_line);
    j.at("versions").get_to(record.versions);
    return record;
  } catch (const nlohmann::json::exception& e) {
    fail(ErrorCode::corrupt, "{}: {}", origin, e.what());
  }
}

}  // namespace gradus::run
