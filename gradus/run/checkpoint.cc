#include "gradus/run/checkpoint.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <system_error>
#include <vector>

#include "gradus/core/error.h"
#include "gradus/core/file.h"
#include "gradus/core/json.h"

namespace gradus::run {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kFormat = 1;
constexpr std::string_view kStateFile = "state.json";
constexpr std::string_view kPrefix = "step-";
// Names beside the finished ones. A finished checkpoint has no suffix.
constexpr std::string_view kWriting = ".tmp-";       // followed by the writer's process number
constexpr std::string_view kDeleting = ".deleted";   // on its way out
constexpr std::string_view kReplaced = ".replaced";  // the older one of the same step, until the newer is in place

fs::path with_suffix(const fs::path& path, std::string_view suffix) {
  return path.string() + std::string(suffix);
}

// File system calls that throw Error{io}.
void rename_path(const fs::path& from, const fs::path& to) {
  std::error_code ec;
  fs::rename(from, to, ec);
  if (ec) fail(ErrorCode::io, "rename {} to {}: {}", from.string(), to.string(), ec.message());
}
void remove_folder(const fs::path& path) {
  std::error_code ec;
  fs::remove_all(path, ec);
  if (ec) fail(ErrorCode::io, "delete {}: {}", path.string(), ec.message());
}
void make_folder(const fs::path& path) {
  std::error_code ec;
  fs::create_directories(path, ec);
  if (ec) fail(ErrorCode::io, "make folder {}: {}", path.string(), ec.message());
}

// The step in the name of a finished checkpoint.
std::optional<int64_t> step_of(const fs::path& folder) {
  const std::string name = folder.filename().string();
  if (!name.starts_with(kPrefix)) return std::nullopt;
  int64_t step = 0;
  const auto [end, ec] = std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), step);
  if (ec != std::errc() || end != name.data() + name.size() || step < 0) return std::nullopt;
  return step;
}

std::vector<fs::path> entries(const fs::path& directory) {
  std::error_code ec;
  fs::directory_iterator it(directory, ec);
  if (ec == std::errc::no_such_file_or_directory) return {};
  if (ec) fail(ErrorCode::io, "list {}: {}", directory.string(), ec.message());
  std::vector<fs::path> paths;
  for (const auto& entry : it) paths.push_back(entry.path());
  return paths;
}

// Finished checkpoints by ascending step.
std::vector<fs::path> finished(const fs::path& directory) {
  std::vector<fs::path> folders;
  for (const fs::path& path : entries(directory)) {
    if (step_of(path) && fs::is_directory(path) && fs::exists(path / kStateFile)) folders.push_back(path);
  }
  std::sort(folders.begin(), folders.end(),
            [](const fs::path& a, const fs::path& b) { return step_of(a) < step_of(b); });
  return folders;
}

json read_state(const fs::path& folder) {
  const fs::path path = folder / kStateFile;
  if (!fs::exists(folder)) fail(ErrorCode::not_found, "checkpoint {}: there is no such folder", folder.string());
  if (!fs::exists(path))
    fail(ErrorCode::corrupt, "checkpoint {}: it has no {}; it is not a finished checkpoint", folder.string(),
         kStateFile);
  json state = parse_json(read_file(path), path.string());
  try {
    const int format = state.at("format").get<int>();
    if (format > kFormat) {
      fail(ErrorCode::unsupported,
           "checkpoint {}: format {} is newer than {}, the newest this program knows; update gradus", folder.string(),
           format, kFormat);
    }
    return state;
  } catch (const json::exception& e) {
    fail(ErrorCode::corrupt, "checkpoint {}: {}: {}; delete the folder to go on from the one before", folder.string(),
         kStateFile, e.what());
  }
}

std::optional<double> score_in(const json& state) {
  const auto it = state.find("score");
  if (it == state.end() || !it->is_number()) return std::nullopt;
  return it->get<double>();
}

bool is_tensor_file(std::string_view name) {
  return name.ends_with(".safetensors");
}

void check_name(std::string_view name, bool tensors) {
  require(!name.empty() && name.front() != '.' && name.find('/') == name.npos && name != kStateFile,
          "checkpoint: '{}' cannot be the name of a file in it", name);
  require(is_tensor_file(name) == tensors, "checkpoint: {} cannot hold {}; only names in .safetensors hold tensors",
          name, tensors ? "tensors" : "text");
}

json parse_object(const std::string& text) {
  json object = try_parse_json(text);
  require(object.is_object(), "checkpoint: its state is not a JSON object but {}", quote_text(text));
  return object;
}

// Fills the empty folder `to`. state.json comes last and names every file with its size, so that a short one is found.
void write_content(const Checkpoint& checkpoint, const fs::path& to) {
  nlohmann::ordered_json state;
  state["format"] = kFormat;
  state["step"] = checkpoint.step;
  if (checkpoint.score && std::isfinite(*checkpoint.score)) state["score"] = *checkpoint.score;
  state["marks"] = checkpoint.marks;
  state["state"] = parse_object(checkpoint.state);
  state["files"] = json::object();
  for (const auto& [name, tensors] : checkpoint.tensors) {
    write_safetensors(to / name, tensors, {{"format", "pt"}});  // "pt" is what the transformers library asks for
    state["files"][name] = fs::file_size(to / name);
  }
  for (const auto& [name, text] : checkpoint.files) {
    write_file_atomically(to / name, text);
    state["files"][name] = text.size();
  }
  write_file_atomically(to / kStateFile, write_json(state, 2) + '\n');
}

void check_size(const fs::path& folder, const std::string& name, uint64_t wanted) {
  std::error_code ec;
  const uint64_t size = fs::file_size(folder / name, ec);
  if (!ec && size == wanted) return;
  fail(ErrorCode::corrupt,
       "checkpoint {}: {} {} but should hold {} bytes; delete the folder to go on from the one before", folder.string(),
       name, ec ? "is missing" : fmt::format("holds {}", size), wanted);
}

void delete_checkpoint(const fs::path& folder) {
  const fs::path condemned = with_suffix(folder, kDeleting);
  remove_folder(condemned);
  rename_path(folder, condemned);  // first, so that a half-deleted one is never taken for whole
  remove_folder(condemned);
}

void point_link(const fs::path& link, const fs::path& target) {
  const fs::path beside = with_suffix(link, fmt::format("{}{}", kWriting, ::getpid()));
  std::error_code ec;
  fs::remove(beside, ec);
  fs::create_directory_symlink(target, beside, ec);
  if (ec) fail(ErrorCode::io, "link {}: {}", link.string(), ec.message());
  rename_path(beside, link);
}

}  // namespace

fs::path save_checkpoint(const fs::path& directory, const Checkpoint& checkpoint) {
  require(checkpoint.step >= 0, "checkpoint: step {} is negative", checkpoint.step);
  for (const auto& [name, _] : checkpoint.tensors) check_name(name, true);
  for (const auto& [name, _] : checkpoint.files) check_name(name, false);
  fs::path folder = directory / fmt::format("{}{:06d}", kPrefix, checkpoint.step);
  const fs::path beside = with_suffix(folder, fmt::format("{}{}", kWriting, ::getpid()));
  const fs::path replaced = with_suffix(folder, kReplaced);

  make_folder(directory);
  remove_folder(beside);
  make_folder(beside);
  try {
    write_content(checkpoint, beside);
    sync_directory(beside);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(beside, ignored);
    throw;
  }
  const bool replaces = fs::exists(folder);
  if (replaces) {
    remove_folder(replaced);
    rename_path(folder, replaced);  // a folder cannot be renamed over another that has files
  }
  rename_path(beside, folder);
  sync_directory(directory);
  if (replaces) remove_folder(replaced);
  return folder;
}

Checkpoint load_checkpoint(const fs::path& folder) {
  const json state = read_state(folder);
  Checkpoint checkpoint;
  std::map<std::string, uint64_t> sizes;
  try {
    state.at("step").get_to(checkpoint.step);
    state.at("marks").get_to(checkpoint.marks);
    state.at("files").get_to(sizes);
    checkpoint.state = write_json(state.at("state"));
    checkpoint.score = score_in(state);
  } catch (const json::exception& e) {
    fail(ErrorCode::corrupt, "checkpoint {}: {}: {}; delete the folder to go on from the one before", folder.string(),
         kStateFile, e.what());
  }
  for (const auto& [name, size] : sizes) {
    if (name.find('/') != name.npos)
      fail(ErrorCode::corrupt, "checkpoint {}: {} names the path {}", folder.string(), kStateFile, name);
    check_size(folder, name, size);
    if (is_tensor_file(name)) {
      checkpoint.tensors[name] = read_safetensors(folder / name).tensors;
    } else {
      checkpoint.files[name] = read_file(folder / name);
    }
  }
  return checkpoint;
}

std::optional<fs::path> latest_checkpoint(const fs::path& directory) {
  const auto folders = finished(directory);
  if (folders.empty()) return std::nullopt;
  return folders.back();
}

std::optional<fs::path> best_checkpoint(const fs::path& directory) {
  std::optional<fs::path> best;
  double best_score = 0;
  for (const fs::path& folder : finished(directory)) {
    const auto score = score_in(read_state(folder));
    if (!score || (best && *score <= best_score)) continue;
    best = folder;
    best_score = *score;
  }
  return best;
}

void prune_checkpoints(const fs::path& directory, int64_t keep_last) {
  require(keep_last >= 1, "checkpoint: {} to keep; at least the last one is kept", keep_last);
  const auto best = best_checkpoint(directory);
  if (best) point_link(directory / "best", best->filename());
  auto folders = finished(directory);
  folders.resize(folders.size() - std::min(folders.size(), static_cast<size_t>(keep_last)));
  for (const fs::path& folder : folders) {
    if (folder != best) delete_checkpoint(folder);
  }
}

void recover_checkpoints(const fs::path& directory) {
  for (const fs::path& path : entries(directory)) {
    const std::string name = path.filename().string();
    if (name.ends_with(kReplaced)) {
      const fs::path place = path.string().substr(0, path.string().size() - kReplaced.size());
      if (fs::exists(place)) {
        remove_folder(path);
      } else {
        rename_path(path, place);
      }
    } else if (name.ends_with(kDeleting) || name.find(kWriting) != name.npos) {
      remove_folder(path);
    }
  }
}

}  // namespace gradus::run
