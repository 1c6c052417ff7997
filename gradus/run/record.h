// What a run was made with: enough to tell two runs apart and to repeat one. Kept as record.json; holds no host name.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace gradus::run {

// The commit this library was built from, "unknown" when it was not built in a git checkout.
std::string_view git_commit();

struct Record {
  std::map<std::string, std::string> versions{};  // library -> version: {"gradus", "0.1.0"}, {"onednn", "2.6.3"}
  std::string isa{};                              // instruction set of the kernels
  int64_t threads = 0;
  std::vector<std::string> command_line{};
  std::string git_commit{run::git_commit()};
  std::string started{};  // UTC, "2026-01-31T12:00:00Z"; filled by Run when empty
};

// Of this process now: library versions, instruction set, threads of pool().
Record record_of_this_process(std::vector<std::string> command_line);

// One line for each thing that decides bits and differs: "isa was AVX3 and is AVX2 now". Command line and start are not
// compared.
std::vector<std::string> differences(const Record& before, const Record& now);

nlohmann::ordered_json to_json(const Record& record);

// The inverse of to_json. `origin` names the source in errors. Throws corrupt.
Record parse_record(const nlohmann::json& j, std::string_view origin);

}  // namespace gradus::run
