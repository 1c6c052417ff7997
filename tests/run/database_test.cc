#include "gradus/run/database.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "disk_limit.h"
#include "errors.h"
#include "gradus/core/file.h"
#include "temp_folder.h"

namespace gradus::run {
namespace {

Rollout some_rollout(int64_t iteration, int64_t sample) {
  return {.iteration = iteration,
          .prompt_index = 5,
          .sample_index = sample,
          .prompt = "1+2#",
          .answer = std::string("=3\0$", 4),
          .tokens = {3, -1, 1 << 30},
          .log_probs = {-0.25f, -0.0f, -std::numeric_limits<float>::denorm_min()},
          .reward = 1.0,
          .correct = true,
          .style = "short"};
}

void add_all(Database& db, const std::vector<Metric>& rows) {
  db.begin();
  for (const Metric& m : rows) db.add(m);
  db.commit();
}

TEST(Database, MetricsComeBackInOrder) {
  const TempFolder folder;
  Database db(folder / "run.sqlite", Database::Mode::create);
  const std::vector<Metric> rows = {{1, "k15", "reward", 0.5}, {1, "k15", "loss", -1e-300}, {2, "k15", "reward", 0.75}};
  add_all(db, rows);
  EXPECT_EQ(db.metrics(), rows);
  EXPECT_EQ(db.metrics("k15", "reward"), (std::vector<Metric>{rows[0], rows[2]}));
  EXPECT_EQ(db.last_step(), 2);
}

TEST(Database, RolloutsKeepEveryBit) {
  const TempFolder folder;
  Database db(folder / "run.sqlite", Database::Mode::create);
  Rollout empty;
  empty.iteration = 3;
  db.begin();
  db.add(some_rollout(2, 0));
  db.add(some_rollout(3, 1));
  db.add(empty);
  db.commit();
  EXPECT_EQ(db.rollouts(), (std::vector<Rollout>{some_rollout(2, 0), some_rollout(3, 1), empty}));
  EXPECT_EQ(db.rollouts(3), (std::vector<Rollout>{some_rollout(3, 1), empty}));
  EXPECT_TRUE(std::signbit(db.rollouts(2)[0].log_probs[1]));
}

TEST(Database, LogProbsMustMatchTokens) {
  const TempFolder folder;
  Database db(folder / "run.sqlite", Database::Mode::create);
  Rollout r = some_rollout(0, 0);
  r.log_probs.pop_back();
  EXPECT_THAT(error_of([&] { db.add(r); }), Throws(ErrorCode::invalid_argument, "2 log_probs for 3 tokens"));
}

TEST(Database, NanComesBackAsNan) {
  const TempFolder folder;
  Database db(folder / "run.sqlite", Database::Mode::create);
  add_all(db, {{1, "k15", "loss", std::nan("")}, {1, "k15", "max", HUGE_VAL}});
  EXPECT_TRUE(std::isnan(db.metrics()[0].value));
  EXPECT_EQ(db.metrics()[1].value, HUGE_VAL);
}

TEST(Database, ReaderSeesCommittedRowsOfAnOpenRun) {
  const TempFolder folder;
  Database db(folder / "run.sqlite", Database::Mode::create);
  add_all(db, {{1, "k15", "reward", 0.5}});
  Database reader(folder / "run.sqlite", Database::Mode::read);
  db.begin();
  db.add(Metric{2, "k15", "reward", 0.5});
  EXPECT_EQ(reader.metrics().size(), 1u);
  db.commit();
  EXPECT_EQ(reader.metrics().size(), 2u);
}

TEST(Database, RolledBackRowsAreGoneAndTheirNumbersReused) {
  const TempFolder folder;
  Database db(folder / "run.sqlite", Database::Mode::create);
  db.begin();
  db.add(Metric{1, "k15", "reward", 0.5});
  db.rollback();
  add_all(db, {{1, "k15", "loss", 0.5}});
  EXPECT_EQ(db.marks(), (RowMarks{1, 0}));
}

TEST(Database, TruncateDeletesRowsBehindTheMarks) {
  const TempFolder folder;
  Database db(folder / "run.sqlite", Database::Mode::create);
  add_all(db, {{1, "k15", "reward", 0.5}, {2, "k15", "reward", 0.5}});
  db.begin();
  db.add(some_rollout(1, 0));
  db.commit();
  db.truncate({1, 1});
  EXPECT_EQ(db.metrics().size(), 1u);
  EXPECT_EQ(db.rollouts().size(), 1u);
  EXPECT_THAT(error_of([&] { db.truncate({2, 0}); }), Throws(ErrorCode::corrupt, "taken after 2 and 0"));
}

TEST(Database, MetaIsReplaced) {
  const TempFolder folder;
  Database db(folder / "run.sqlite", Database::Mode::create);
  EXPECT_EQ(db.meta("task"), std::nullopt);
  db.set_meta("task", "jsonl");
  db.set_meta("task", "chain");
  db.sync();
  EXPECT_EQ(db.meta("task"), "chain");
}

TEST(Database, MissingExistingAndForeignFilesAreRefused) {
  const TempFolder folder;
  const auto path = folder / "run.sqlite";
  EXPECT_THAT(error_of([&] { Database(path, Database::Mode::read); }), Throws(ErrorCode::not_found, "run.sqlite"));
  write_file_atomically(path, std::string(5000, 'x'));
  EXPECT_THAT(error_of([&] { Database(path, Database::Mode::create); }), Throws(ErrorCode::io, "exists already"));
  EXPECT_THAT(error_of([&] { Database(path, Database::Mode::write); }), Throws(ErrorCode::corrupt, "not a database"));
  write_file_atomically(path, "");
  EXPECT_THAT(error_of([&] { Database(path, Database::Mode::write); }), Throws(ErrorCode::corrupt, "run.sqlite"));
}

TEST(Database, NewerSchemaIsRefused) {
  const TempFolder folder;
  Database(folder / "run.sqlite", Database::Mode::create).set_meta("schema_version", "99");
  EXPECT_THAT(error_of([&] { Database(folder / "run.sqlite", Database::Mode::write); }),
              Throws(ErrorCode::unsupported, "schema 99 is newer"));
}

TEST(Database, AFileThatCannotGrowIsAnIoError) {
  const TempFolder folder;
  Database db(folder / "run.sqlite", Database::Mode::create);
  add_all(db, {{1, "k15", "reward", 0.5}});
  {
    const DiskLimit limit(100'000);
    EXPECT_THAT(error_of([&] {
                  db.begin();
                  for (int i = 0; i < 5000; ++i) db.add(some_rollout(i, 0));
                  db.commit();
                }),
                Throws(ErrorCode::io, "run.sqlite"));
  }
  db.rollback();
  EXPECT_EQ(db.metrics().size(), 1u);
  EXPECT_EQ(db.rollouts().size(), 0u);
}

}  // namespace
}  // namespace gradus::run
