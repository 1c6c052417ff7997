#include "gradus/run/database.h"

#include <sqlite3.h>

#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>

#include "gradus/core/error.h"

namespace gradus::run {

namespace {

constexpr int kSchemaVersion = 1;
constexpr int kBusyTimeoutMs = 10'000;  // a reader holds the write lock only while it opens or recovers the log

constexpr const char* kSchema = R"sql(
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE metrics (
  id INTEGER PRIMARY KEY, step INTEGER NOT NULL, phase TEXT NOT NULL, name TEXT NOT NULL, value REAL);
CREATE INDEX metrics_by_name ON metrics (phase, name, step);
CREATE TABLE rollouts (
  id INTEGER PRIMARY KEY, iteration INTEGER NOT NULL, prompt_index INTEGER NOT NULL, sample_index INTEGER NOT NULL,
  prompt TEXT NOT NULL, answer TEXT NOT NULL, tokens BLOB NOT NULL, log_probs BLOB NOT NULL,
  reward REAL, correct INTEGER NOT NULL, style TEXT NOT NULL, length INTEGER NOT NULL);
CREATE INDEX rollouts_by_iteration ON rollouts (iteration);
)sql";

constexpr std::string_view kMetricColumns = "SELECT step, phase, name, value FROM metrics ";
constexpr std::string_view kRolloutColumns =
    "SELECT iteration, prompt_index, sample_index, prompt, answer, tokens, log_probs, reward, correct, style FROM "
    "rollouts ";

}  // namespace

std::string_view sqlite_version() {
  return sqlite3_libversion();
}

// One use of a prepared statement: binds 1, 2, ... in order, steps, and resets at the end.
class Database::Statement {
 public:
  Statement(Database& database, sqlite3_stmt* statement) : database_(database), statement_(statement) {}
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement() {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
  }

  Statement& bind(int64_t v) { return check(sqlite3_bind_int64(statement_, ++n_bound_, v)); }
  Statement& bind(double v) { return check(sqlite3_bind_double(statement_, ++n_bound_, v)); }  // NaN becomes NULL
  Statement& bind(std::string_view v) {
    return check(
        sqlite3_bind_text64(statement_, ++n_bound_, v.data() ? v.data() : "", v.size(), SQLITE_STATIC, SQLITE_UTF8));
  }
  template <class T>
  Statement& bind(std::span<const T> v) {
    // A null pointer would bind NULL, not an empty blob.
    return check(sqlite3_bind_blob64(statement_, ++n_bound_, v.empty() ? "" : static_cast<const void*>(v.data()),
                                     v.size_bytes(), SQLITE_STATIC));
  }

  // True while there is a row.
  bool step() {
    const int rc = sqlite3_step(statement_);
    if (rc == SQLITE_ROW) return true;
    if (rc != SQLITE_DONE) database_.fail_now("write or read");
    return false;
  }
  void run() { GRADUS_CHECK(!step()); }

  int64_t integer(int column) { return sqlite3_column_int64(statement_, column); }
  double real(int column) {
    return sqlite3_column_type(statement_, column) == SQLITE_NULL ? std::numeric_limits<double>::quiet_NaN()
                                                                  : sqlite3_column_double(statement_, column);
  }
  std::string text(int column) {
    const void* p = sqlite3_column_blob(statement_, column);
    return p == nullptr ? std::string() : std::string(static_cast<const char*>(p), n_bytes(column));
  }
  template <class T>
  std::vector<T> blob(int column) {
    const void* p = sqlite3_column_blob(statement_, column);
    std::vector<T> v(n_bytes(column) / sizeof(T));
    if (!v.empty()) std::memcpy(v.data(), p, v.size() * sizeof(T));
    return v;
  }

 private:
  size_t n_bytes(int column) { return static_cast<size_t>(sqlite3_column_bytes(statement_, column)); }
  Statement& check(int rc) {
    if (rc != SQLITE_OK) database_.fail_now("bind");
    return *this;
  }

  Database& database_;
  sqlite3_stmt* statement_;
  int n_bound_ = 0;
};

void Database::CloseConnection::operator()(sqlite3* connection) const noexcept {
  sqlite3_close_v2(connection);
}
void Database::Finalize::operator()(sqlite3_stmt* statement) const noexcept {
  sqlite3_finalize(statement);
}

Database::Database(const std::filesystem::path& path, Mode mode) : path_(path.string()) {
  const bool exists = std::filesystem::exists(path);
  if (mode == Mode::create && exists)
    fail(ErrorCode::io, "database {}: it exists already; choose another folder", path_);
  if (mode != Mode::create && !exists) fail(ErrorCode::not_found, "database {}: there is no such file", path_);
  const int flags = mode == Mode::read ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  sqlite3* connection = nullptr;
  const int rc =
      sqlite3_open_v2(path_.c_str(), &connection, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nullptr);
  connection_.reset(connection);
  if (rc != SQLITE_OK) fail_now("open");
  sqlite3_busy_timeout(connection_.get(), kBusyTimeoutMs);

  if (mode == Mode::create) create_tables();
  check_version();
  if (mode == Mode::read) return;
  // NORMAL: a commit costs no fsync, and sync() pays one where it matters.
  execute("PRAGMA synchronous = NORMAL");
  insert_metric_ = prepare("INSERT INTO metrics (step, phase, name, value) VALUES (?, ?, ?, ?)");
  insert_rollout_ = prepare(
      "INSERT INTO rollouts (iteration, prompt_index, sample_index, prompt, answer, tokens, log_probs, reward, "
      "correct, style, "
      "length) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
}

void Database::create_tables() {
  execute("PRAGMA journal_mode = WAL");
  begin();
  execute(kSchema);
  set_meta("schema_version", std::to_string(kSchemaVersion));
  commit();
}

void Database::check_version() {
  const std::string version = meta("schema_version").value_or("");
  int number = 0;
  const auto [end, ec] = std::from_chars(version.data(), version.data() + version.size(), number);
  if (ec != std::errc() || end != version.data() + version.size()) {
    fail(ErrorCode::corrupt, "database {}: its schema_version is '{}', not a number", path_, version);
  }
  if (number > kSchemaVersion) {
    fail(ErrorCode::unsupported,
         "database {}: schema {} is newer than {}, the newest this program knows; update gradus", path_, number,
         kSchemaVersion);
  }
}

void Database::fail_now(std::string_view operation) {
  const int rc = sqlite3_extended_errcode(connection_.get());
  const std::string message = sqlite3_errmsg(connection_.get());
  const int system_error = sqlite3_system_errno(connection_.get());
  switch (rc & 0xff) {
    case SQLITE_FULL:
      fail(ErrorCode::io, "database {}: the disk is full; free some space and resume the run", path_);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_ERROR:  // a table or column that is not there: nobody else's statements run here
      fail(ErrorCode::corrupt, "database {}: {}; restore it from a copy or start the run again", path_, message);
    default:
      break;
  }
  fail(ErrorCode::io, "database {}: {}: {}{}{}", path_, operation, message, system_error ? ": " : "",
       system_error ? std::strerror(system_error) : "");
}

void Database::execute(const std::string& sql) {
  if (sqlite3_exec(connection_.get(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) fail_now("execute");
}

Database::StatementHandle Database::prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(connection_.get(), sql.data(), static_cast<int>(sql.size()), &statement, nullptr) !=
      SQLITE_OK) {
    fail_now("prepare");
  }
  return StatementHandle(statement);
}

void Database::begin() {
  execute("BEGIN IMMEDIATE");
}
void Database::commit() {
  execute("COMMIT");
}
void Database::rollback() noexcept {
  sqlite3_exec(connection_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
}

void Database::add(const Metric& m) {
  Statement(*this, insert_metric_.get()).bind(m.step).bind(m.phase).bind(m.name).bind(m.value).run();
}

void Database::add(const Rollout& r) {
  require(r.log_probs.size() == r.tokens.size(), "rollout {} of iteration {}: {} log_probs for {} tokens",
          r.sample_index, r.iteration, r.log_probs.size(), r.tokens.size());
  Statement(*this, insert_rollout_.get())
      .bind(r.iteration)
      .bind(r.prompt_index)
      .bind(r.sample_index)
      .bind(r.prompt)
      .bind(r.answer)
      .bind(std::span(r.tokens))
      .bind(std::span(r.log_probs))
      .bind(r.reward)
      .bind(int64_t{r.correct})
      .bind(r.style)
      .bind(static_cast<int64_t>(r.tokens.size()))
      .run();
}

void Database::sync() {
  // A commit under FULL syncs the whole log before it, but only if it wrote something.
  const RowMarks now = marks();
  execute("PRAGMA synchronous = FULL");
  set_meta("synced_rows", fmt::format("{} {}", now.metrics, now.rollouts));
  execute("PRAGMA synchronous = NORMAL");
}

void Database::set_meta(std::string_view key, std::string_view value) {
  const auto statement = prepare("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)");
  Statement(*this, statement.get()).bind(key).bind(value).run();
}

std::optional<std::string> Database::meta(std::string_view key) {
  const auto statement = prepare("SELECT value FROM meta WHERE key = ?");
  Statement query(*this, statement.get());
  if (!query.bind(key).step()) return std::nullopt;
  return query.text(0);
}

int64_t Database::number(std::string_view sql) {
  const auto statement = prepare(sql);
  Statement query(*this, statement.get());
  GRADUS_CHECK(query.step());
  return query.integer(0);
}

RowMarks Database::marks() {
  return {number("SELECT coalesce(max(id), 0) FROM metrics"), number("SELECT coalesce(max(id), 0) FROM rollouts")};
}

void Database::truncate(const RowMarks& wanted) {
  const RowMarks now = marks();
  if (now.metrics < wanted.metrics || now.rollouts < wanted.rollouts) {
    fail(ErrorCode::corrupt,
         "database {}: it holds {} metrics and {} rollouts, but the checkpoint was taken after {} and {}; restore it "
         "from a copy",
         path_, now.metrics, now.rollouts, wanted.metrics, wanted.rollouts);
  }
  begin();
  execute(fmt::format("DELETE FROM metrics WHERE id > {}", wanted.metrics));
  execute(fmt::format("DELETE FROM rollouts WHERE id > {}", wanted.rollouts));
  commit();
}

std::vector<Metric> Database::read_metrics(Statement& query) {
  std::vector<Metric> rows;
  while (query.step()) rows.push_back({query.integer(0), query.text(1), query.text(2), query.real(3)});
  return rows;
}

std::vector<Metric> Database::metrics() {
  const auto statement = prepare(fmt::format("{} ORDER BY id", kMetricColumns));
  Statement query(*this, statement.get());
  return read_metrics(query);
}

std::vector<Metric> Database::metrics(std::string_view phase, std::string_view name) {
  const auto statement = prepare(fmt::format("{} WHERE phase = ? AND name = ? ORDER BY id", kMetricColumns));
  Statement query(*this, statement.get());
  query.bind(phase).bind(name);
  return read_metrics(query);
}

std::vector<Rollout> Database::read_rollouts(Statement& query) {
  std::vector<Rollout> rows;
  while (query.step()) {
    rows.push_back({.iteration = query.integer(0),
                    .prompt_index = query.integer(1),
                    .sample_index = query.integer(2),
                    .prompt = query.text(3),
                    .answer = query.text(4),
                    .tokens = query.blob<int32_t>(5),
                    .log_probs = query.blob<float>(6),
                    .reward = query.real(7),
                    .correct = query.integer(8) != 0,
                    .style = query.text(9)});
  }
  return rows;
}

std::vector<Rollout> Database::rollouts() {
  const auto statement = prepare(fmt::format("{} ORDER BY id", kRolloutColumns));
  Statement query(*this, statement.get());
  return read_rollouts(query);
}

std::vector<Rollout> Database::rollouts(int64_t iteration) {
  const auto statement = prepare(fmt::format("{} WHERE iteration = ? ORDER BY id", kRolloutColumns));
  Statement query(*this, statement.get());
  query.bind(iteration);
  return read_rollouts(query);
}

std::optional<int64_t> Database::last_step() {
  const auto statement = prepare("SELECT max(step), count(*) FROM metrics");
  Statement query(*this, statement.get());
  GRADUS_CHECK(query.step());
  if (query.integer(1) == 0) return std::nullopt;
  return query.integer(0);
}

}  // namespace gradus::run
