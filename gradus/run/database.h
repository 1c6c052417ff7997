// run.sqlite: the metrics and rollouts of one run, an SQLite database in WAL mode, so that others may read while a run
// writes. One row per logged value, never one per environment step.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct sqlite3;
struct sqlite3_stmt;

namespace gradus::run {

struct Metric {
  int64_t step = 0;
  std::string phase{};
  std::string name{};
  double value = 0;
  bool operator==(const Metric&) const = default;
};

struct Rollout {
  int64_t iteration = 0;
  int64_t prompt_index = 0;
  int64_t sample_index = 0;
  std::string prompt{};
  std::string answer{};
  std::vector<int32_t> tokens{};   // the sampled ids
  std::vector<float> log_probs{};  // [tokens], natural log, as recorded by the sampler
  double reward = 0;
  bool correct = false;
  std::string style{};  // what the task says of the answer: "long", "short", ...
  bool operator==(const Rollout&) const = default;
};

// How far the two tables go; rows are numbered from 1 without gaps.
struct RowMarks {
  int64_t metrics = 0;
  int64_t rollouts = 0;
  bool operator==(const RowMarks&) const = default;
};

// The version of the SQLite library in use: "3.40.1".
std::string_view sqlite_version();

// One connection; used by one thread at a time. Every function throws io (a full disk is named) or corrupt.
class Database {
 public:
  enum class Mode { create, write, read };

  // create makes the file and its tables and refuses one that exists (io); write and read throw not_found without it,
  // and unsupported when a newer Gradus wrote it.
  Database(const std::filesystem::path& path, Mode mode);

  // Rows added between begin and commit appear to readers together, and after a crash all or none. NaN is stored as
  // NULL.
  void begin();
  void add(const Metric& metric);
  void add(const Rollout& rollout);  // throws invalid_argument unless log_probs and tokens have one length
  void commit();
  void rollback() noexcept;

  // What was committed so far survives a power cut from here on. (Without it a commit survives only the end of the
  // process.)
  void sync();

  void set_meta(std::string_view key, std::string_view value);
  std::optional<std::string> meta(std::string_view key);

  RowMarks marks();
  // Deletes the rows behind `marks`. Throws corrupt when the tables do not reach that far.
  void truncate(const RowMarks& marks);

  // In the order they were added.
  std::vector<Metric> metrics();
  std::vector<Metric> metrics(std::string_view phase, std::string_view name);
  std::vector<Rollout> rollouts();                   // of the whole run: may be large
  std::vector<Rollout> rollouts(int64_t iteration);  // of one iteration
  std::optional<int64_t> last_step();                // the largest step of a metric

 private:
  class Statement;
  struct CloseConnection {
    void operator()(sqlite3* connection) const noexcept;
  };
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const noexcept;
  };
  using StatementHandle = std::unique_ptr<sqlite3_stmt, Finalize>;

  void execute(const std::string& sql);
  StatementHandle prepare(std::string_view sql);
  int64_t number(std::string_view sql);
  [[noreturn]] void fail_now(std::string_view operation);
  void create_tables();
  void check_version();
  std::vector<Metric> read_metrics(Statement& query);
  std::vector<Rollout> read_rollouts(Statement& query);

  std::string path_;
  std::unique_ptr<sqlite3, CloseConnection> connection_;
  StatementHandle insert_metric_, insert_rollout_;  // after the connection, so that they go before it
};

}  // namespace gradus::run
