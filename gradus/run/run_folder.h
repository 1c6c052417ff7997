// A run is one folder that holds everything about one training: configuration, record, logs, checkpoints.
//
//   RUN/config.toml               the resolved configuration          RUN/record.json  what it was made with
//   RUN/run.sqlite                metrics and rollouts                RUN/lock         who writes to it now
//   RUN/metrics.jsonl             the same metrics, a line a step     RUN/checkpoints/step-000040/, .../best ->
//   step-000040 RUN/events.out.tfevents.*     the same for TensorBoard
//
// The logs are on disk before the checkpoint that belongs to them appears, and a checkpoint knows how far they went.
// Resuming cuts them there, so that they end up as if the run had never been interrupted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gradus/run/checkpoint.h"
#include "gradus/run/database.h"
#include "gradus/run/metrics_writer.h"
#include "gradus/run/record.h"

namespace gradus::run {

// Where things are in a run folder; for readers, too. Touches no file.
struct RunPaths {
  std::filesystem::path directory;
  std::filesystem::path config() const { return directory / "config.toml"; }
  std::filesystem::path record() const { return directory / "record.json"; }
  std::filesystem::path database() const { return directory / "run.sqlite"; }
  std::filesystem::path metrics_jsonl() const { return directory / "metrics.jsonl"; }
  std::filesystem::path checkpoints() const { return directory / "checkpoints"; }
};

struct RunOptions {
  uint64_t seed = 0;             // key of all randomness of the run
  int64_t keep_checkpoints = 2;  // the last so many and the best are kept
  std::string config_toml{};     // the resolved configuration
  Record record{};
  Clock clock{};  // for log times; empty: the system's
};

struct ResumedRun;

// The one writer of a run folder. One caller at a time; movable.
class Run {
 public:
  // Begins a run in `directory`, made if missing. Throws invalid_argument when it exists with anything in it or another
  // process writes to it, io when it cannot be written; then nothing of it stays behind.
  explicit Run(const std::filesystem::path& directory, RunOptions options = {});

  // Goes on after the latest checkpoint of `directory`, which comes with the run. Log rows behind it are deleted.
  // Throws not_found (no such folder), corrupt (half-written folder or a file damaged; nothing was changed then),
  // invalid_argument (another process writes to it, or there is no checkpoint yet), unsupported (written by a newer
  // Gradus), io.
  static ResumedRun open(const std::filesystem::path& directory, Clock clock = {});

  // A run that another process writes: what is logged or saved here goes nowhere. For all ranks but the first.
  static Run follower(const std::filesystem::path& directory, RunOptions options, int64_t last_step = 0);

  Run(Run&&) noexcept;
  Run& operator=(Run&&) noexcept;
  ~Run();  // writes what was logged; errors at that point are lost, so flush() or checkpoint() first

  // One row of named values. `step` counts over the whole run, all phases together, and does not fall. Written by the
  // "metrics" thread; its error is thrown by the next call of any function here.
  void log(int64_t step, std::string_view phase, NamedValues values);

  // Sets their iteration. Throws invalid_argument unless each has one log_prob per token.
  void log_rollouts(int64_t iteration, std::vector<Rollout> rollouts);

  // Waits until all that was logged is safely on disk.
  void flush();

  // Flushes, then saves `checkpoint` (its marks are set here), then deletes those no longer kept. Returns its folder,
  // nothing of a follower.
  std::filesystem::path checkpoint(Checkpoint checkpoint);

  // The largest step logged or saved so far; 0 in a new run.
  int64_t last_step() const;

  const RunPaths& paths() const;
  uint64_t seed() const;
  const Record& record() const;  // of the process that began the run
  std::string config_toml() const;

 private:
  struct State;
  explicit Run(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

struct ResumedRun {
  Run run;
  Checkpoint checkpoint;
};

}  // namespace gradus::run
