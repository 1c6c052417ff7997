#include "gradus/run/run_folder.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

#include "gradus/core/error.h"
#include "gradus/core/file.h"
#include "gradus/core/json.h"
#include "gradus/run/run_lock.h"

namespace gradus::run {

namespace {

namespace fs = std::filesystem;

constexpr int kFormat = 1;

double system_now_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string utc_text(double seconds_since_1970) {
  const auto t = static_cast<std::time_t>(seconds_since_1970);
  std::tm utc{};
  gmtime_r(&t, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

struct RunFacts {  // record.json
  uint64_t seed = 0;
  int64_t keep_checkpoints = 2;
  Record record;
};

std::string to_json(const RunFacts& facts) {
  nlohmann::ordered_json j;
  j["format"] = kFormat;
  j["seed"] = facts.seed;
  j["keep_checkpoints"] = facts.keep_checkpoints;
  j["record"] = to_json(facts.record);
  return write_json(j, 2) + '\n';
}

RunFacts read_facts(const fs::path& path) {
  const nlohmann::json j = parse_json(read_file(path), path.string());
  try {
    const int format = j.at("format").get<int>();
    if (format > kFormat) {
      fail(ErrorCode::unsupported, "run {}: format {} is newer than {}, the newest this program knows; update gradus",
           path.string(), format, kFormat);
    }
    return {.seed = j.at("seed").get<uint64_t>(),
            .keep_checkpoints = j.at("keep_checkpoints").get<int64_t>(),
            .record = parse_record(j.at("record"), path.string())};
  } catch (const nlohmann::json::exception& e) {
    fail(ErrorCode::corrupt, "run {}: {}", path.string(), e.what());
  }
}

// Anything but a lock file, which a run that ended at its very beginning may leave.
bool has_content(const fs::path& directory) {
  std::error_code ec;
  fs::directory_iterator it(directory, ec);
  if (ec == std::errc::no_such_file_or_directory) return false;
  if (ec) fail(ErrorCode::io, "run {}: {}; choose another --out", directory.string(), ec.message());
  for (const auto& entry : it) {
    if (entry.path().filename() != "lock") return true;
  }
  return false;
}

void require_empty(const RunPaths& paths) {
  if (!has_content(paths.directory)) return;
  const bool is_run = fs::exists(paths.record());
  fail(ErrorCode::invalid_argument, "run {}: the folder exists and is not empty; {}choose another --out",
       paths.directory.string(),
       is_run ? fmt::format("go on with it by `gradus resume {}` or ", paths.directory.string()) : "");
}

LogSinks create_logs(const RunPaths& paths, const Clock& clock) {
  return {.database = Database(paths.database(), Database::Mode::create),
          .metrics_jsonl = OutputFile(paths.metrics_jsonl(), OutputFile::Mode::create),
          .events = EventFile(paths.directory, clock()),
          .clock = clock};
}

// Everything is checked before anything is cut.
LogSinks reopen_logs(const RunPaths& paths, const LogMarks& marks, const Clock& clock) {
  if (!fs::exists(paths.metrics_jsonl())) {
    fail(ErrorCode::corrupt, "run {}: metrics.jsonl is missing; restore it from a copy", paths.directory.string());
  }
  Database database(paths.database(), Database::Mode::write);
  OutputFile jsonl(paths.metrics_jsonl(), OutputFile::Mode::append);
  jsonl.require_size(marks.jsonl_bytes);
  database.truncate(marks.rows);
  jsonl.truncate(marks.jsonl_bytes);
  const int64_t purge_step = database.last_step().value_or(-1) + 1;
  return {.database = std::move(database),
          .metrics_jsonl = std::move(jsonl),
          .events = EventFile(paths.directory, clock(), purge_step),
          .clock = clock};
}

std::map<std::string, int64_t> to_map(const LogMarks& marks) {
  return {
      {"metrics", marks.rows.metrics}, {"rollouts", marks.rows.rollouts}, {"metrics_jsonl_bytes", marks.jsonl_bytes}};
}

LogMarks to_marks(const std::map<std::string, int64_t>& map, const fs::path& folder) {
  const auto get = [&](const char* key) {
    const auto it = map.find(key);
    if (it == map.end() || it->second < 0) {
      fail(ErrorCode::corrupt, "checkpoint {}: its marks lack '{}'; it was not saved by a run", folder.string(), key);
    }
    return it->second;
  };
  return {.rows = {get("metrics"), get("rollouts")}, .jsonl_bytes = get("metrics_jsonl_bytes")};
}

void make_directory(const fs::path& directory) {
  std::error_code ec;
  fs::create_directories(directory, ec);
  if (ec) fail(ErrorCode::io, "run {}: {}; choose another --out", directory.string(), ec.message());
}

}  // namespace

struct Run::State {
  RunPaths paths;
  RunFacts facts;
  std::optional<RunLock> lock;  // none of a follower, and no writer
  int64_t last_step = 0;
  std::unique_ptr<MetricsWriter> writer;  // last: it ends before the lock is given back
  std::string config_toml;                // of a follower
};

Run::Run(std::unique_ptr<State> state) : state_(std::move(state)) {}
Run::Run(Run&&) noexcept = default;
Run& Run::operator=(Run&&) noexcept = default;
Run::~Run() = default;

Run::Run(const fs::path& directory, RunOptions options) {
  require(options.keep_checkpoints >= 1, "run {}: keep_checkpoints is {}; at least the last one is kept",
          directory.string(), options.keep_checkpoints);
  const Clock clock = options.clock ? std::move(options.clock) : system_now_s;
  if (options.record.started.empty()) options.record.started = utc_text(clock());
  const RunPaths paths{directory};
  require_unlocked(directory);
  require_empty(paths);
  const bool existed = fs::exists(directory);
  make_directory(directory);
  RunLock lock(directory, options.record.started);
  require_empty(paths);  // somebody may have been faster
  try {
    RunFacts facts{options.seed, options.keep_checkpoints, std::move(options.record)};
    write_file_atomically(paths.config(), options.config_toml);
    make_directory(paths.checkpoints());
    LogSinks logs = create_logs(paths, clock);
    write_file_atomically(paths.record(), to_json(facts));  // last: with it the folder is a run
    state_.reset(
        new State{paths, std::move(facts), std::move(lock), 0, std::make_unique<MetricsWriter>(std::move(logs)), {}});
  } catch (...) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(directory, ignored)) fs::remove_all(entry.path(), ignored);
    if (!existed) fs::remove(directory, ignored);
    throw;
  }
}

Run Run::follower(const fs::path& directory, RunOptions options, int64_t last_step) {
  RunFacts facts{options.seed, options.keep_checkpoints, std::move(options.record)};
  return Run(std::unique_ptr<State>(new State{RunPaths{directory}, std::move(facts), std::nullopt, last_step, nullptr,
                                              std::move(options.config_toml)}));
}

ResumedRun Run::open(const fs::path& directory, Clock clock) {
  if (!clock) clock = system_now_s;
  const RunPaths paths{directory};
  const std::string name = directory.string();
  if (!fs::is_directory(directory)) fail(ErrorCode::not_found, "run {}: there is no such folder", name);
  if (!fs::exists(paths.record())) {
    fail(ErrorCode::corrupt,
         "run {}: it has no record.json, so it is not a run or was half written; begin another with `gradus train`",
         name);
  }
  RunLock lock(directory, utc_text(clock()));
  RunFacts facts = read_facts(paths.record());
  recover_checkpoints(paths.checkpoints());
  const auto folder = latest_checkpoint(paths.checkpoints());
  require(folder.has_value(),
          "run {}: it ended before its first checkpoint, nothing can be resumed; delete the folder and begin it again",
          name);
  Checkpoint checkpoint = load_checkpoint(*folder);
  LogSinks logs = reopen_logs(paths, to_marks(checkpoint.marks, *folder), clock);
  Run run(std::unique_ptr<State>(new State{paths,
                                           std::move(facts),
                                           std::move(lock),
                                           checkpoint.step,
                                           std::make_unique<MetricsWriter>(std::move(logs)),
                                           {}}));
  return {std::move(run), std::move(checkpoint)};
}

void Run::log(int64_t step, std::string_view phase, NamedValues values) {
  state_->last_step = std::max(state_->last_step, step);
  if (state_->writer) state_->writer->log(step, std::string(phase), std::move(values));
}

void Run::log_rollouts(int64_t iteration, std::vector<Rollout> rollouts) {
  for (Rollout& r : rollouts) r.iteration = iteration;
  if (state_->writer) state_->writer->log_rollouts(std::move(rollouts));
}

void Run::flush() {
  if (state_->writer) state_->writer->flush();
}

fs::path Run::checkpoint(Checkpoint checkpoint) {
  state_->last_step = std::max(state_->last_step, checkpoint.step);
  if (!state_->writer) return {};
  checkpoint.marks = to_map(state_->writer->flush());  // before the checkpoint appears, its logs are on disk
  fs::path folder = save_checkpoint(state_->paths.checkpoints(), checkpoint);
  prune_checkpoints(state_->paths.checkpoints(), state_->facts.keep_checkpoints);
  return folder;
}

int64_t Run::last_step() const {
  return state_->last_step;
}
const RunPaths& Run::paths() const {
  return state_->paths;
}
uint64_t Run::seed() const {
  return state_->facts.seed;
}
const Record& Run::record() const {
  return state_->facts.record;
}
std::string Run::config_toml() const {
  return state_->writer ? read_file(state_->paths.config()) : state_->config_toml;
}

}  // namespace gradus::run
