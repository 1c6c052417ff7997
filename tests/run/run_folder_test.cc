#include "gradus/run/run_folder.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>

#include "disk_limit.h"
#include "errors.h"
#include "gradus/core/file.h"
#include "gradus/run/run_lock.h"
#include "temp_folder.h"

namespace gradus::run {
namespace {

namespace fs = std::filesystem;
using RunFolder = run::Run;  // inside a TEST, Run is a member of testing::Test

RunOptions options() {
  return {
      .seed = 7,
      .config_toml = "seed = 7\n",
      .record = {.versions = {{"gradus", "0.1.0"}}, .isa = "AVX2", .threads = 2, .command_line = {"gradus", "train"}},
      .clock = [] { return 1e9; }};
}

Rollout rollout(int64_t sample) {
  return {.sample_index = sample, .prompt = "1+1#", .answer = "=2$", .tokens = {1, 2}, .log_probs = {-0.5f, -0.25f}};
}

Checkpoint checkpoint_of(int64_t step) {
  Checkpoint c;
  c.step = step;
  c.score = static_cast<double>(step);
  return c;
}

// What an iteration of a learner does with its run.
void train(RunFolder& run, int64_t first, int64_t last, int64_t save_every = 2) {
  for (int64_t i = first; i <= last; ++i) {
    run.log(i, "k15", {{"reward", 1.0 / static_cast<double>(i)}, {"loss", 0.1 * static_cast<double>(i)}});
    run.log_rollouts(i, {rollout(0), rollout(1)});
    if (i % save_every == 0) run.checkpoint(checkpoint_of(i));
  }
  run.flush();
}

fs::path event_file(const fs::path& directory, size_t index) {
  std::vector<fs::path> paths;
  for (const auto& e : fs::directory_iterator(directory)) {
    if (e.path().filename().string().starts_with("events.")) paths.push_back(e.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths.at(index);
}

TEST(RunFolder, LogsReachEveryFile) {
  const TempFolder folder;
  RunFolder run(folder / "a", options());
  train(run, 1, 2);
  EXPECT_EQ(read_file(run.paths().metrics_jsonl()),
            "{\"step\":1,\"phase\":\"k15\",\"reward\":1.0,\"loss\":0.1}\n{\"step\":2,\"phase\":\"k15\",\"reward\":0.5,"
            "\"loss\":0.2}\n");
  Database db(run.paths().database(), Database::Mode::read);
  EXPECT_EQ(db.metrics().size(), 4u);
  EXPECT_EQ(db.rollouts(2).size(), 2u);
  EXPECT_EQ(db.rollouts(2)[1].log_probs, rollout(1).log_probs);
  EXPECT_EQ(read_event_file(event_file(folder / "a", 0)).scalars.size(), 4u);
  EXPECT_EQ(run.config_toml(), "seed = 7\n");
  EXPECT_EQ(run.seed(), 7u);
}

TEST(RunFolder, DestructorWritesWhatWasLogged) {
  const TempFolder folder;
  { RunFolder(folder / "a", options()).log(1, "sft", {{"loss", std::nan("")}}); }
  EXPECT_EQ(read_file(folder / "a/metrics.jsonl"), "{\"step\":1,\"phase\":\"sft\",\"loss\":null}\n");
}

TEST(RunFolder, RecordComesBack) {
  const TempFolder folder;
  {
    RunFolder run(folder / "a", options());
    run.checkpoint(checkpoint_of(0));
  }
  const auto [run, checkpoint] = RunFolder::open(folder / "a");
  EXPECT_EQ(run.seed(), 7u);
  EXPECT_EQ(run.record().started, "2001-09-09T01:46:40Z");
  EXPECT_EQ(run.record().git_commit, git_commit());
  Record other = run.record();
  EXPECT_TRUE(differences(run.record(), other).empty());
  other.isa = "SSE4";
  other.versions["onednn"] = "3.1";
  EXPECT_EQ(differences(run.record(), other),
            (std::vector<std::string>{"isa was AVX2 and is SSE4 now", "onednn was absent and is 3.1 now"}));
}

TEST(RunFolder, ExistingFolderIsRefusedAndLeftAlone) {
  const TempFolder folder;
  { RunFolder run(folder / "a", options()); }
  EXPECT_THAT(error_of([&] { RunFolder(folder / "a", options()); }),
              Throws(ErrorCode::invalid_argument, "gradus resume"));
  fs::create_directory(folder / "b");
  write_file_atomically(folder / "b/thesis.txt", "x");
  EXPECT_THAT(error_of([&] { RunFolder(folder / "b", options()); }),
              Throws(ErrorCode::invalid_argument, "choose another --out"));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / "b"), fs::directory_iterator{}), 1);
  fs::create_directory(folder / "empty");
  RunFolder(folder / "empty", options());
}

TEST(RunFolder, ASecondWriterIsRefusedByName) {
  const TempFolder folder;
  RunFolder run(folder / "a", options());
  run.checkpoint(checkpoint_of(1));
  const std::string in_use = "is in use by process " + std::to_string(::getpid());
  EXPECT_THAT(error_of([&] { RunFolder::open(folder / "a"); }), Throws(ErrorCode::invalid_argument, in_use.c_str()));
  EXPECT_THAT(error_of([&] { RunFolder(folder / "a", options()); }),
              Throws(ErrorCode::invalid_argument, in_use.c_str()));
  EXPECT_EQ(lock_owner(folder / "a"), ::getpid());
}

TEST(RunFolder, LockEndsWithItsRun) {
  const TempFolder folder;
  { RunFolder(folder / "a", options()).checkpoint(checkpoint_of(1)); }
  EXPECT_EQ(lock_owner(folder / "a"), std::nullopt);
  RunFolder::open(folder / "a");
}

TEST(RunFolder, ResumedLogsAreAsIfNeverInterrupted) {
  const TempFolder folder;
  {
    RunFolder whole(folder / "whole", options());
    train(whole, 1, 6);
  }
  {
    RunFolder killed(folder / "resumed", options());
    train(killed, 1, 5);  // the last checkpoint is that of 4
  }
  write_file_atomically(folder / "resumed/metrics.jsonl",
                        read_file(folder / "resumed/metrics.jsonl") + "{\"step\":6,\"pha");
  fs::create_directories(folder / "resumed/checkpoints/step-000006.tmp-1");
  {
    auto [run, checkpoint] = RunFolder::open(folder / "resumed", [] { return 1e9; });
    EXPECT_EQ(checkpoint.step, 4);
    train(run, checkpoint.step + 1, 6);
  }
  EXPECT_EQ(read_file(folder / "resumed/metrics.jsonl"), read_file(folder / "whole/metrics.jsonl"));
  Database a(folder / "whole/run.sqlite", Database::Mode::read), b(folder / "resumed/run.sqlite", Database::Mode::read);
  EXPECT_EQ(a.metrics(), b.metrics());
  EXPECT_EQ(a.rollouts(), b.rollouts());
  EXPECT_EQ(a.marks(), b.marks());
  EXPECT_EQ(read_event_file(event_file(folder / "resumed", 1)).purge_step, 5);
  EXPECT_EQ(fs::read_symlink(folder / "resumed/checkpoints/best"), "step-000006");
}

TEST(RunFolder, AKilledProcessLeavesARunThatResumes) {
  const TempFolder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    RunFolder run(folder / "a", options());
    train(run, 1, 3);
    for (int64_t i = 4; i < 100; ++i) run.log(i, "k15", {{"reward", 0.0}});  // some of it written, some not
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  {
    auto [run, checkpoint] = RunFolder::open(folder / "a", [] { return 1e9; });
    train(run, checkpoint.step + 1, 4);
  }
  {
    RunFolder whole(folder / "whole", options());
    train(whole, 1, 4);
  }
  EXPECT_EQ(read_file(folder / "a/metrics.jsonl"), read_file(folder / "whole/metrics.jsonl"));
  Database a(folder / "a/run.sqlite", Database::Mode::read), b(folder / "whole/run.sqlite", Database::Mode::read);
  EXPECT_EQ(a.metrics(), b.metrics());
  EXPECT_EQ(a.rollouts(), b.rollouts());
}

TEST(RunFolder, RowsOfTheCheckpointsStepWrittenAfterItAreCut) {
  const TempFolder folder;
  {
    RunFolder run(folder / "a", options());
    train(run, 1, 2);
    run.log(2, "eval", {{"accuracy", 0.5}});  // killed before the next checkpoint: resuming will write it again
  }
  auto [run, checkpoint] = RunFolder::open(folder / "a");
  run.log(2, "eval", {{"accuracy", 0.5}});
  run.flush();
  Database db(run.paths().database(), Database::Mode::read);
  EXPECT_EQ(db.metrics("eval", "accuracy").size(), 1u);
}

TEST(RunFolder, HalfWrittenFoldersAreNamed) {
  const TempFolder folder;
  EXPECT_THAT(error_of([&] { RunFolder::open(folder / "missing"); }), Throws(ErrorCode::not_found, "no such folder"));
  fs::create_directory(folder / "half");
  write_file_atomically(folder / "half/config.toml", "");
  EXPECT_THAT(error_of([&] { RunFolder::open(folder / "half"); }), Throws(ErrorCode::corrupt, "no record.json"));
  { RunFolder(folder / "early", options()); }
  EXPECT_THAT(error_of([&] { RunFolder::open(folder / "early"); }),
              Throws(ErrorCode::invalid_argument, "before its first checkpoint"));
  write_file_atomically(folder / "early/record.json", "{\"format\": 1");
  EXPECT_THAT(error_of([&] { RunFolder::open(folder / "early"); }), Throws(ErrorCode::corrupt, "record.json"));
}

TEST(RunFolder, DamagedRunIsRefusedWithItsLogsUntouched) {
  const TempFolder folder;
  {
    RunFolder run(folder / "a", options());
    train(run, 1, 3);
  }
  const std::string logs = read_file(folder / "a/metrics.jsonl");
  const fs::path state = folder / "a/checkpoints/step-000002/state.json";
  const std::string whole = read_file(state);
  write_file_atomically(state, whole.substr(0, whole.size() / 2));
  EXPECT_THAT(error_of([&] { RunFolder::open(folder / "a"); }), Throws(ErrorCode::corrupt, "state.json"));
  EXPECT_EQ(read_file(folder / "a/metrics.jsonl"), logs);

  write_file_atomically(state, whole);
  write_file_atomically(folder / "a/metrics.jsonl", "{}\n");
  EXPECT_THAT(error_of([&] { RunFolder::open(folder / "a"); }), Throws(ErrorCode::corrupt, "metrics.jsonl"));
  EXPECT_EQ(Database(folder / "a/run.sqlite", Database::Mode::read).metrics().size(), 6u);
}

TEST(RunFolder, FullDiskSurfacesAtTheNextFlushAndStays) {
  const TempFolder folder;
  RunFolder run(folder / "a", options());
  train(run, 1, 2);
  {
    const DiskLimit limit(200'000);
    run.log_rollouts(3, std::vector<Rollout>(5000, rollout(0)));
    EXPECT_THAT(error_of([&] { run.flush(); }), Throws(ErrorCode::io, "run.sqlite"));
  }
  EXPECT_THAT(error_of([&] { run.log(4, "k15", {{"reward", 1.0}}); }), Throws(ErrorCode::io, "run.sqlite"));
  EXPECT_THAT(error_of([&] { run.checkpoint(checkpoint_of(4)); }), Throws(ErrorCode::io, "run.sqlite"));
  EXPECT_EQ(latest_checkpoint(run.paths().checkpoints())->filename(), "step-000002");
}

TEST(RunFolder, FolderThatCannotBeWrittenLeavesNothing) {
  const TempFolder folder;
  {
    const DiskLimit limit(1000);
    EXPECT_THAT(error_of([&] { RunFolder(folder / "a", options()); }), Throws(ErrorCode::io, "run.sqlite"));
  }
  EXPECT_FALSE(fs::exists(folder / "a"));
  write_file_atomically(folder / "file", "");
  EXPECT_THAT(error_of([&] { RunFolder(folder / "file", options()); }), Throws(ErrorCode::io, "choose another --out"));
}

TEST(RunFolder, RolloutsWithoutALogProbPerTokenAreRefusedAtOnce) {
  const TempFolder folder;
  RunFolder run(folder / "a", options());
  Rollout r = rollout(0);
  r.tokens.push_back(3);
  EXPECT_THAT(error_of([&] { run.log_rollouts(1, {r}); }),
              Throws(ErrorCode::invalid_argument, "2 log_probs for 3 tokens"));
  run.flush();
}

}  // namespace
}  // namespace gradus::run
