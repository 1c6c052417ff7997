#include "gradus/run/checkpoint.h"

#include <gtest/gtest.h>

#include "disk_limit.h"
#include "errors.h"
#include "gradus/core/file.h"
#include "temp_folder.h"

namespace gradus::run {
namespace {

namespace fs = std::filesystem;

Checkpoint some_checkpoint(int64_t step, std::optional<double> score = {}, int64_t numel = 3) {
  Checkpoint c;
  c.step = step;
  c.score = score;
  c.state = R"({"phase":"k15","updates":12345678901234567890})";
  Tensor w = Tensor::zeros({numel});
  w.data<float>()[numel - 1] = 0.1f;
  c.tensors["model.safetensors"] = {{"w", w}};
  c.tensors["trainer.safetensors"] = {{"w.m", w}, {"w.v", w}};
  c.files["config.json"] = "{}";
  c.marks = {{"metrics", 7}};
  return c;
}

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  for (const auto& e : fs::directory_iterator(directory)) names.push_back(e.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

using Names = std::vector<std::string>;

TEST(Checkpoint, ComesBackAsSaved) {
  const TempFolder folder;
  const fs::path path = save_checkpoint(folder / "checkpoints", some_checkpoint(40, 0.5));
  EXPECT_EQ(path.filename(), "step-000040");
  EXPECT_EQ(names_in(folder / "checkpoints"), Names{"step-000040"});
  const Checkpoint back = load_checkpoint(path), saved = some_checkpoint(40, 0.5);
  EXPECT_EQ(back.step, saved.step);
  EXPECT_EQ(back.score, saved.score);
  EXPECT_EQ(back.state, saved.state);
  EXPECT_EQ(back.marks, saved.marks);
  EXPECT_EQ(back.files, saved.files);
  ASSERT_EQ(back.tensors.at("trainer.safetensors").size(), 2u);
  EXPECT_EQ(back.tensors.at("model.safetensors")[0].first, "w");
  EXPECT_EQ(back.tensors.at("model.safetensors")[0].second.data<float>()[2], 0.1f);
}

TEST(Checkpoint, SavingAStepAgainReplacesIt) {
  const TempFolder folder;
  save_checkpoint(folder.path(), some_checkpoint(40, 0.5));
  save_checkpoint(folder.path(), some_checkpoint(40, 0.75));
  EXPECT_EQ(load_checkpoint(*latest_checkpoint(folder.path())).score, 0.75);
  EXPECT_EQ(names_in(folder.path()), Names{"step-000040"});
}

TEST(Checkpoint, LatestGoesByNumber) {
  const TempFolder folder;
  EXPECT_EQ(latest_checkpoint(folder / "missing"), std::nullopt);
  for (const int64_t step : {1'000'000, 999'999, 7}) save_checkpoint(folder.path(), some_checkpoint(step));
  EXPECT_EQ(latest_checkpoint(folder.path()), folder / "step-1000000");
}

TEST(Checkpoint, UnfinishedOnesAreNotSeenAndRecoveryRemovesThem) {
  const TempFolder folder;
  const fs::path whole = save_checkpoint(folder.path(), some_checkpoint(10));
  for (const char* name : {"step-000020.tmp-123", "step-000005.deleted", "best.tmp-123"})
    fs::copy(whole, folder / name);
  EXPECT_EQ(latest_checkpoint(folder.path()), whole);
  recover_checkpoints(folder.path());
  EXPECT_EQ(names_in(folder.path()), Names{"step-000010"});
}

TEST(Checkpoint, RecoveryBringsBackTheOneWhoseReplacementDidNotArrive) {
  const TempFolder folder;
  const fs::path whole = save_checkpoint(folder.path(), some_checkpoint(10));
  fs::copy(whole, folder / "step-000010.tmp-123");
  fs::rename(whole, folder / "step-000010.replaced");
  recover_checkpoints(folder.path());
  EXPECT_EQ(names_in(folder.path()), Names{"step-000010"});
  fs::copy(whole, folder / "step-000010.replaced");
  recover_checkpoints(folder.path());
  EXPECT_EQ(names_in(folder.path()), Names{"step-000010"});
}

TEST(Checkpoint, EveryTruncatedOrMissingFileIsCorrupt) {
  for (const char* name : {"state.json", "model.safetensors", "trainer.safetensors", "config.json"}) {
    const TempFolder folder;
    const fs::path path = save_checkpoint(folder.path(), some_checkpoint(10));
    fs::resize_file(path / name, fs::file_size(path / name) - 1 - 2 * (std::string(name) == "state.json"));
    EXPECT_THAT(error_of([&] { load_checkpoint(path); }), Throws(ErrorCode::corrupt, name));
    fs::remove(path / name);
    EXPECT_THAT(error_of([&] { load_checkpoint(path); }), Throws(ErrorCode::corrupt, name));
  }
}

TEST(Checkpoint, MissingAndNewerOnesAreNamed) {
  const TempFolder folder;
  EXPECT_THAT(error_of([&] { load_checkpoint(folder / "step-000001"); }), Throws(ErrorCode::not_found, "step-000001"));
  fs::create_directory(folder / "step-000001");
  write_file_atomically(folder / "step-000001/state.json", R"({"format": 9})");
  EXPECT_THAT(error_of([&] { load_checkpoint(folder / "step-000001"); }),
              Throws(ErrorCode::unsupported, "format 9 is newer"));
}

TEST(Checkpoint, StateFileCannotReachOutside) {
  const TempFolder folder;
  fs::create_directory(folder / "step-000001");
  write_file_atomically(folder / "step-000001/state.json",
                        R"({"format": 1, "step": 1, "marks": {}, "state": {}, "files": {"../x": 1}})");
  EXPECT_THAT(error_of([&] { load_checkpoint(folder / "step-000001"); }), Throws(ErrorCode::corrupt, "../x"));
}

TEST(Checkpoint, BadRequestsAreRefusedBeforeAnythingIsWritten) {
  const TempFolder folder;
  const auto refused = [&](auto change, const char* message) {
    Checkpoint c = some_checkpoint(1);
    change(c);
    EXPECT_THAT(error_of([&] { save_checkpoint(folder.path(), c); }), Throws(ErrorCode::invalid_argument, message));
    EXPECT_EQ(names_in(folder.path()), Names{});
  };
  refused([](Checkpoint& c) { c.step = -1; }, "step -1 is negative");
  refused([](Checkpoint& c) { c.files["a/b"] = ""; }, "'a/b'");
  refused([](Checkpoint& c) { c.files["state.json"] = ""; }, "'state.json'");
  refused([](Checkpoint& c) { c.files["x.safetensors"] = ""; }, "x.safetensors cannot hold text");
  refused([](Checkpoint& c) { c.tensors["x.json"] = {}; }, "x.json cannot hold tensors");
  refused([](Checkpoint& c) { c.state = "[1]"; }, "not a JSON object");
}

TEST(Checkpoint, FullDiskLeavesTheOlderOneAndNothingElse) {
  const TempFolder folder;
  save_checkpoint(folder.path(), some_checkpoint(10));
  {
    const DiskLimit limit(4096);
    EXPECT_THAT(error_of([&] { save_checkpoint(folder.path(), some_checkpoint(20, {}, 100'000)); }),
                Throws(ErrorCode::io, "model.safetensors"));
  }
  EXPECT_EQ(names_in(folder.path()), Names{"step-000010"});
}

TEST(PruneCheckpoints, KeepsTheLastAndTheBest) {
  const TempFolder folder;
  const double scores[] = {0.1, 0.9, 0.3, 0.9, 0.5, 0.4};
  for (int64_t i = 0; i < 6; ++i) {
    save_checkpoint(folder.path(), some_checkpoint(i + 1, scores[i]));
    prune_checkpoints(folder.path(), 2);
  }
  EXPECT_EQ(names_in(folder.path()), (Names{"best", "step-000002", "step-000005", "step-000006"}));
  EXPECT_EQ(fs::read_symlink(folder / "best"), "step-000002");
  EXPECT_EQ(best_checkpoint(folder.path()), folder / "step-000002");
  EXPECT_EQ(load_checkpoint(folder / "best").step, 2);
}

TEST(PruneCheckpoints, WithoutScoresOnlyTheLastStay) {
  const TempFolder folder;
  for (const int64_t step : {1, 2, 3}) save_checkpoint(folder.path(), some_checkpoint(step));
  prune_checkpoints(folder.path(), 1);
  EXPECT_EQ(names_in(folder.path()), Names{"step-000003"});
  EXPECT_THAT(error_of([&] { prune_checkpoints(folder.path(), 0); }),
              Throws(ErrorCode::invalid_argument, "at least the last"));
}

}  // namespace
}  // namespace gradus::run
