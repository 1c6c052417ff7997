// Whatever is wrong with the words, the files, or the folder: one line that says what, the right exit code, and
// nothing taken for whole that is not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>

#include "gradus/core/file.h"
#include "runs.h"
#include "tests/core/temporary_folder.h"

namespace gradus::cli {
namespace {

namespace fs = std::filesystem;
using gradus::testing::TemporaryFolder;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string write(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
  return path.string();
}

// Nothing on stdout, and one line on stderr that holds `part`.
void expect_refused(const Words& words, int exit_code, const std::string& part, const Limits& limits = {}) {
  const Outcome o = run_program(words, limits);
  EXPECT_EQ(o.exit_code, exit_code) << o.err;
  EXPECT_EQ(o.out, "");
  EXPECT_THAT(o.err, StartsWith("gradus: "));
  EXPECT_THAT(o.err, HasSubstr(part));
  EXPECT_EQ(std::ranges::count(o.err, '\n'), 1) << o.err;
}

// ---- words of the command line: exit code 2 ----

TEST(WrongUsage, NamesTheNearestKnownWord) {
  expect_refused({"trian"}, 2, "the nearest is `gradus train`");
  expect_refused({"train", "chain", "--jsno"}, 2, "the nearest option is --json");
  expect_refused({"train", "chian"}, 2, "there is no preset 'chian'; did you mean 'chain'?");
  expect_refused({"train", "chain/k51"}, 2, "algorithm 'k51' is not known; did you mean 'k15'?");
  expect_refused({"train", "chain", "k15.iteration=3"}, 2, "the nearest known key is k15.iterations");
  expect_refused({"train", "chain", "iterations=3"}, 2, "the nearest known key is k15.iterations");
}

TEST(WrongUsage, NamesWhatCollectivesThereAre) {
  const Words bench = {"bench", "allreduce", "--json", "--bytes", "8", "--rounds", "1"};
  const auto with = [&](const Words& more) {
    Words all = bench;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  expect_refused(with({"--algorithm", "rinq"}), 2,
                 "no algorithm rinq; give all, auto, slices, ring, pairwise, doubling");
  expect_refused(with({"--transport", "shm", "--algorithm", "rinq"}), 2, "no algorithm rinq; give all, auto");
  expect_refused(with({"--trace", "--algorithm", "rinq"}), 2, "no algorithm rinq; there are ring, pairwise, doubling");
  expect_refused(with({"--transport", "pigeons"}), 2, "pigeons not in {threads,shm,tcp}");
  expect_refused(with({"--operation", "all_reduced"}), 2, "there is no operation all_reduced");
  expect_refused(with({"--op", "median"}), 2, "median");
  expect_refused(with({"--ranks", "0"}), 2, "not in range 1 to 64");
  expect_refused(with({"--ranks", "65"}), 2, "not in range 1 to 64");
  expect_refused({"bench", "allreduce", "--bytes", "8..lots"}, 2, "'8..lots' is no size");
}

TEST(WrongUsage, NamesTheWantedType) {
  expect_refused({"train", "chain", "k15.iterations=many"}, 2,
                 "k15.iterations is an integer, but the override gives 'many'");
  expect_refused({"train", "chain", "k15.tau=high"}, 2, "k15.tau is a number");
  expect_refused({"train", "chain", "k15.prioritised=2"}, 2, "k15.prioritised is true or false");
  expect_refused({"train", "chain", "k15=3"}, 2, "k15 is a section");
  expect_refused({"train", "chain", "fast"}, 2, "'fast' is not of the form key=value");
  expect_refused({"train", "chain", "--seed", "x"}, 2, "seed is an integer");
}

TEST(WrongUsage, NamesSettingsThatCannotBe) {
  expect_refused({"train", "chain", "architecture.heads=5", "architecture.width=96"}, 2,
                 "heads 5 do not divide width 96");
  expect_refused({"train", "chain", "architecture.width=60", "architecture.heads=6"}, 2,
                 "head_size 10 is not a multiple of 8");
  expect_refused({"train", "chain", "architecture.layers=1000000000"}, 2, "architecture.layers is 1000000000");
  expect_refused({"train", "chain", "architecture.layers=0"}, 2, "layers 0");
  expect_refused({"train", "chain", "chain.max_operators=13"}, 2, "operators 3..13 are out of range");
  expect_refused({"train", "chain", "chain.max_operators=4294967299"}, 2, "out of range");
  expect_refused({"train", "chain", "k15.minibatches=65"}, 2, "minibatches 65 must be 1 to prompts 64");
  expect_refused({"train", "chain", "k15.tau=0"}, 2, "tau 0");
  expect_refused({"train", "chain", "k15.temperature=nan"}, 2, "temperature nan");
  expect_refused({"train", "chain", "k15.widened_at=2"}, 2, "widened_at is 2");
  expect_refused({"train", "chain", "sft.learning_rate=-1"}, 2, "learning_rate is -1");
  expect_refused({"train", "chain", "sft.first_max_difficulty=99999999999"}, 2, "out of range");
  expect_refused({"train", "chain", "seed=-1"}, 2, "seed is -1");
  expect_refused({"train", "chain", "precision=bf61"}, 2, "precision 'bf61' is not known; did you mean 'bf16'?");
  expect_refused({"train", "chain", "precision=bf16", "loss_scale=8"}, 2, "loss_scale=8 is for precision=fp16");
  expect_refused({"train", "chain", "precision=fp16", "loss_scale=-1"}, 2, "loss_scale is -1");
  expect_refused({"train", "chain", "threads=1000"}, 2, "threads is 1000");
  expect_refused({"train", "chain", "data=x.jsonl"}, 2, "only read by the tasks jsonl and text, not by chain");
  expect_refused({"train", "jsonl"}, 2, "the task jsonl needs data=FILE.jsonl");
  expect_refused({"train", "text"}, 2, "the task text needs data=PATH");
  expect_refused({"train", "text/k15", "data=x"}, 2, "text/k15: plain text has no answers to learn from");
  expect_refused({"train", "chain/pretrain"}, 2, "chain/pretrain: pretrain learns from plain text only");
  expect_refused({"train", "text", "data=x", "reward=./judge.py"}, 2, "reward=./judge.py judges answers");
  expect_refused({"train", "text", "data=x", "pretrain.context=300"}, 2,
                 "pretrain.context 300 is longer than architecture.max_positions 256");
  expect_refused({"train", "text", "data=x", "pretrain.tokens=0"}, 2, "tokens is 0");
  expect_refused({"generate"}, 2, "gradus generate --help");
  expect_refused({"inspect", "1", "stacks"}, 2, "gradus inspect --help");
}

// ---- files: exit code 1 ----

class BadFile : public ::testing::Test {
 protected:
  std::string file(const std::string& name, const std::string& bytes) const { return write(folder_ / name, bytes); }
  Words train_on(const std::string& data) const {
    return {"train", "jsonl", "data=" + data, "--out", (folder_ / "run").string()};
  }
  void TearDown() override { EXPECT_FALSE(fs::exists(folder_ / "run")) << "a run that never began left a folder"; }

  TemporaryFolder folder_;
};

TEST_F(BadFile, ConfigurationIsNamedWithItsLine) {
  const std::string out = (folder_ / "run").string();
  const auto refused = [&](const std::string& toml, const std::string& part) {
    expect_refused({"train", file("a.toml", toml), "--out", out}, 1, part);
  };
  refused("task = \"chain\"\n[k15]\niteration = 3\n", "a.toml line 3); the nearest known key is k15.iterations");
  refused("[k15]\ntau = \"x\"\n", "k15.tau is a number, but ");
  refused("task = \n", "a.toml line 1");
  expect_refused({"train", (folder_ / "none.toml").string(), "--out", out}, 1, "none.toml: No such file");
}

TEST_F(BadFile, RowIsNamedWithItsLine) {
  const std::string good = R"({"prompt": "1+1", "answer": "2", "response": "=2"})"
                           "\n";
  const auto refused = [&](const std::string& row, const std::string& part) {
    expect_refused(train_on(file("a.jsonl", good + row + "\n")), 1, part);
  };
  refused("{\"prompt\": \"1+2\", \"answer\": ", "a.jsonl:2: malformed JSON");
  refused("[1, 2]", "a.jsonl:2: a JSON array but each line must be one JSON object");
  refused("{\"prompt\": \"1+\xff\", \"answer\": \"2\"}", "a.jsonl:2: byte 15 is not valid UTF-8");
  refused("{\"answer\": \"2\"}", "a.jsonl:2: `prompt` is missing");
  refused("{\"prompt\": \"1+2\"}", "a.jsonl:2: `answer` is missing");
  refused("{\"prompt\": 3, \"answer\": \"3\"}", "a.jsonl:2: `prompt` is a JSON number but must be a string");
  refused("{\"prompt\": \"1+2\", \"answer\": \"3\", \"response\": \"=4\"}", "a.jsonl:2: the response ends in");
  refused("{\"prompt\": \"" + std::string(600, '1') + "\", \"answer\": \"3\", \"response\": \"=3\"}",
          "a.jsonl:2: a prompt of 601 tokens");
  expect_refused(train_on(file("empty.jsonl", "")), 1, "empty.jsonl: no rows");
  expect_refused(train_on((folder_ / "none.jsonl").string()), 1, "none.jsonl: No such file");
}

TEST_F(BadFile, StretchedPositionsBeyondTheModelAreRefusedAtOnce) {
  expect_refused({"train", "chain", "sft.stretch=16", "--out", (folder_ / "run").string()}, 1,
                 "stretched 16 times (sft.stretch), do not fit");
}

TEST_F(BadFile, WithoutDemonstrationsAndWithoutAModelIsRefused) {
  const std::string data =
      file("a.jsonl", "{\"question\": \"1+1\", \"answer\": 2}\n{\"question\": \"1+2\", \"answer\": 3}\n");
  expect_refused(train_on(data), 1,
                 "no demonstrations and no model: the reward would stay 0; add `response` or `model=`\n");
}

TEST_F(BadFile, RewardProgramThatCannotRunIsRefused) {
  const std::string data = std::string(GRADUS_SOURCE_DIR) + "/examples/data/sums.jsonl";
  Words words = train_on(data);
  words.push_back("reward=" + (folder_ / "none.py").string());
  expect_refused(words, 1, "none.py: no such program");
  words.back() = "reward=" + file("reward.py", "#!/usr/bin/env python3\n");
  expect_refused(words, 1, "reward.py: not executable; run chmod +x");
}

// ---- models and runs: exit code 1 ----

class BadFolder : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = std::make_unique<TemporaryFolder>();
    ASSERT_EQ(run_program(small_training(trained(), {"sft.tokens=2000", "k15.iterations=1"})).exit_code, 0);
  }
  static void TearDownTestSuite() { shared_.reset(); }
  static std::string trained() { return (*shared_ / "run").string(); }

  void SetUp() override { fs::copy(trained(), run_, fs::copy_options::recursive | fs::copy_options::copy_symlinks); }

  fs::path model() const {
    fs::path latest;
    for (const auto& entry : fs::directory_iterator(run_ / "checkpoints")) {
      if (!entry.is_symlink() && entry.path() > latest) latest = entry.path();
    }
    return latest;
  }
  void refused(const std::string& part) const {
    expect_refused({"generate", model().string(), "--prompt", "1+1#"}, 1, part);
  }

  static std::unique_ptr<TemporaryFolder> shared_;
  TemporaryFolder folder_;
  const fs::path run_ = folder_ / "run";
};

std::unique_ptr<TemporaryFolder> BadFolder::shared_;

void cut(const fs::path& path) {
  fs::resize_file(path, fs::file_size(path) / 2);
}

TEST_F(BadFolder, AConfigOfAbsurdSizeIsRefusedWithTheMemoryItNeeds) {
  std::string config = read_file(model() / "config.json");
  const std::string key = "\"num_hidden_layers\": ";
  config.insert(config.find(key) + key.size(), "409");  // 4091 layers: terabytes
  const std::string width = "\"intermediate_size\": ";
  config.replace(config.find(width) + width.size(),
                 config.find(',', config.find(width)) - config.find(width) - width.size(), "1048576");
  write(model() / "config.json", config);
  refused("GB of memory: weights");
  expect_refused({"train", "chain/k15", "model=" + model().string(), "--out", (folder_ / "next").string()}, 1,
                 "GB of memory: weights");
}

TEST_F(BadFolder, DamagedModelIsNamedByItsFile) {
  const std::string weights = read_file(model() / "model.safetensors");
  cut(model() / "model.safetensors");
  refused("model.safetensors");
  write(model() / "model.safetensors", std::string(100, 'x'));
  refused("model.safetensors");
  write(model() / "model.safetensors", weights);

  const std::string config = read_file(model() / "config.json");
  cut(model() / "config.json");
  refused("config.json: not valid JSON at line");
  write(model() / "config.json", "{\"model_type\": \"gpt2\"}");
  refused("config.json");
  write(model() / "config.json", config);

  cut(model() / "tokenizer.json");
  refused("tokenizer.json: not valid JSON at line");
  fs::remove(model() / "tokenizer.json");
  refused("tokenizer.json");
}

TEST_F(BadFolder, DamagedCheckpointIsNotResumedFromAndTheOneBeforeIs) {
  cut(model() / "model.safetensors");
  expect_refused({"resume", run_.string()}, 1, "delete the folder to go on from the one before");
  fs::remove_all(model());
  EXPECT_EQ(run_program({"resume", run_.string()}).exit_code, 0);
  EXPECT_EQ(read_run(run_.string()).weights, read_run(trained()).weights);
}

TEST_F(BadFolder, HalfWrittenRunIsNotTakenForOne) {
  const std::string run = run_.string();
  expect_refused({"resume", run + "-none"}, 1, "there is no such folder");
  expect_refused({"eval", run + "-none"}, 1, "neither a model folder (config.json) nor a run");
  fs::remove(run_ / "record.json");
  expect_refused({"resume", run}, 1, "it has no record.json, so it is not a run or was half written");
}

TEST_F(BadFolder, RunWithDamagedPartsIsNotChanged) {
  const std::string run = run_.string();
  cut(run_ / "metrics.jsonl");
  expect_refused({"resume", run}, 1, "metrics.jsonl: it holds ");
  fs::remove(run_ / "metrics.jsonl");
  expect_refused({"resume", run}, 1, "metrics.jsonl is missing");
}

TEST_F(BadFolder, DamagedDatabaseIsNamed) {
  write(run_ / "run.sqlite", "this is no database, however long the text may be that one writes into its place");
  expect_refused({"resume", run_.string()}, 1, "run.sqlite");
}

TEST_F(BadFolder, DamagedConfigurationIsNamedWithItsLine) {
  write(run_ / "config.toml", "task = \"chain\"\nnonsense = 1\n");
  expect_refused({"resume", run_.string()}, 1, "config.toml line 2); the nearest known key");
}

TEST_F(BadFolder, OutputThatExistsIsNotWrittenInto) {
  expect_refused({"train", "chain", "--out", run_.string()}, 1,
                 "the folder exists and is not empty; go on with it by `gradus resume");
  EXPECT_EQ(read_run(run_.string()).weights, read_run(trained()).weights);
  const std::string file = write(folder_ / "file", "mine");
  expect_refused({"train", "chain", "--out", file}, 1, "file");
  EXPECT_EQ(read_file(file), "mine");
}

TEST_F(BadFolder, ModelThatLacksACharacterIsRefusedWithTheRow) {
  const std::string data = write(
      folder_ / "a.jsonl", "{\"prompt\": \"1+1\", \"answer\": \"2\"}\n{\"prompt\": \"1+x\", \"answer\": \"2\"}\n");
  expect_refused({"train", "jsonl", "data=" + data, "model=" + run_.string(), "jsonl.prompt_end=#", "--out",
                  (folder_ / "out").string(), "k15.max_tokens=24"},
                 1, "a.jsonl:2: prompt: encode: the character \"x\" (U+0078) at position 2");
  expect_refused({"generate", run_.string(), "--prompt", "1+\xc3\xa4#"}, 1, "(U+00E4) at position 2");
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

// A disk that is full from the beginning: nothing stays behind.
TEST_F(BadFolder, RunThatCannotBeginLeavesNothing) {
  const std::string out = (folder_ / "out").string();
  const Outcome o = run_program(small_training(out), {.file_bytes = 1000});
  EXPECT_EQ(o.exit_code, 1);
  EXPECT_EQ(std::ranges::count(o.err, '\n'), 1) << o.err;
  EXPECT_FALSE(fs::exists(out));
}

}  // namespace
}  // namespace gradus::cli
