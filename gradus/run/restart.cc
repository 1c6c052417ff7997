#include "gradus/run/restart.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>

#include "gradus/core/error.h"
#include "gradus/run/checkpoint.h"
#include "gradus/run/run_folder.h"

namespace gradus::run {

namespace {

namespace fs = std::filesystem;

std::optional<std::string> value_of(const std::vector<std::string>& words, const std::string& option) {
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == option && i + 1 < words.size()) return words[i + 1];
    if (words[i].starts_with(option + "=")) return words[i].substr(option.size() + 1);
  }
  return std::nullopt;
}

void put_aside(const fs::path& folder) {
  for (int n = 1;; ++n) {
    const fs::path aside = fmt::format("{}.failed-{}", folder.string(), n);
    if (fs::exists(aside)) continue;
    std::error_code error;
    fs::rename(folder, aside, error);
    if (error)
      fail(ErrorCode::io, "restart: cannot rename {} to {}: {}", folder.string(), aside.string(), error.message());
    return;
  }
}

}  // namespace

std::vector<std::string> words_to_restart(const std::vector<std::string>& words) {
  const std::optional<std::string> out = value_of(words, "--out");
  if (words.empty() || words[0] != "train" || !out) return words;
  const RunPaths paths{*out};
  if (!fs::exists(paths.directory)) return words;
  if (!fs::exists(paths.checkpoints()) || !latest_checkpoint(paths.checkpoints())) {
    put_aside(paths.directory);
    return words;
  }
  std::vector<std::string> again = {"resume", *out};
  for (const char* flag : {"--json", "--quiet"}) {
    if (std::ranges::find(words, flag) != words.end()) again.emplace_back(flag);
  }
  return again;
}

}  // namespace gradus::run
