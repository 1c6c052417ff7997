// What the commands print: JSON lines with their fields, and help that lists what there is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "gradus/core/file.h"
#include "gradus/core/json.h"
#include "runs.h"
#include "tests/core/temporary_folder.h"

namespace gradus::cli {
namespace {

using gradus::testing::TemporaryFolder;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

// Every line is an object, or the test fails.
std::vector<json> objects(const std::string& text) {
  std::vector<json> list;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    list.push_back(try_parse_json(line));
    EXPECT_TRUE(list.back().is_object()) << line;
  }
  return list;
}

void expect_fields(const json& object, const std::vector<std::string>& names) {
  for (const std::string& name : names)
    EXPECT_TRUE(object.contains(name)) << name << " is not in " << write_json(object);
}

class Commands : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryFolder>();
    training_ = run_program(small_training(run()));
    ASSERT_EQ(training_.exit_code, 0) << training_.err;
  }
  static void TearDownTestSuite() { folder_.reset(); }
  static std::string run() { return (*folder_ / "run").string(); }

  static std::unique_ptr<TemporaryFolder> folder_;
  static Outcome training_;
};

std::unique_ptr<TemporaryFolder> Commands::folder_;
Outcome Commands::training_;

TEST_F(Commands, TrainPrintsAnObjectPerIterationAndLastTheResult) {
  EXPECT_EQ(training_.err, "");
  const std::vector<json> lines = objects(training_.out);
  int64_t iterations = 0;
  for (const json& line : lines) {
    if (line.value("phase", "") == "sft")
      expect_fields(line, {"iteration", "loss", "grad_norm", "tokens_per_s", "elapsed_s"});
    if (line.value("phase", "") != "k15") continue;
    expect_fields(line, {"iteration", "reward_mean", "response_tokens_mean", "mismatch_max", "grad_norm",
                         "tokens_per_s", "elapsed_s"});
    EXPECT_EQ(line["iteration"], ++iterations);
    EXPECT_EQ(line["mismatch_max"], 0.0);
  }
  EXPECT_EQ(iterations, 4);
  EXPECT_EQ(lines.back()["event"], "done");
  expect_fields(lines.back(), {"sampled_accuracy_before", "sampled_accuracy_after", "greedy_accuracy_before",
                               "greedy_accuracy_after", "mismatch_max", "elapsed_s"});
  EXPECT_EQ(lines.back()["mismatch_max"], 0.0);
}

TEST_F(Commands, WarmUpPassesOverAFilesDemonstrationsAFewTimesOnly) {
  const TemporaryFolder folder;
  const std::string data = (folder / "sums.jsonl").string();
  std::string rows;
  for (int i = 0; i < 40; ++i)
    rows += fmt::format(R"({{"prompt":"{0}+1","answer":{1},"response":"={1}"}})", i, i + 1) + "\n";
  write_file_atomically(data, rows);
  const auto warm_up_tokens = [&](const char* passes) {
    const Outcome training =
        run_program({"train", "jsonl/sft", "data=" + data, "architecture.layers=1", "architecture.width=32",
                     "architecture.heads=2", "sft.tokens=3000", "sft.sequences=8", "eval.problems=2",
                     "k15.max_tokens=8", passes, "--json", "--out", (folder / passes).string()});
    EXPECT_EQ(training.exit_code, 0) << training.err;
    double n_tokens = 0;
    for (const json& line : objects(training.out)) {
      if (line.value("phase", "") == "sft") n_tokens += line["tokens"].get<double>();
    }
    return n_tokens;
  };
  const double two = warm_up_tokens("sft.passes=2"), four = warm_up_tokens("sft.passes=4");
  EXPECT_NEAR(four / two, 2, 0.2);
  EXPECT_GE(warm_up_tokens("sft.passes=0"), 3000);
  EXPECT_LT(four, 2000);
}

TEST_F(Commands, QuietPrintsOnlyTheResult) {
  const std::vector<json> lines = objects(run_program({"resume", run(), "--json", "--quiet"}).out);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0]["event"], "done");
}

TEST_F(Commands, ResumeForPeopleShowsTheTableAndWhatToTryNext) {
  const Outcome o = run_program({"resume", run()});
  EXPECT_THAT(o.out, HasSubstr("32 held-out problems"));
  EXPECT_THAT(o.out, HasSubstr("accuracy, sampled"));
  EXPECT_THAT(o.out, HasSubstr(" generate " + run() + " --prompt '"));
}

TEST_F(Commands, ExportWritesAModelAndMergesAdapters) {
  const TemporaryFolder folder;
  const std::string adapted = folder / "adapted", whole = folder / "whole", merged = folder / "merged";
  const Outcome training = run_program(small_training(adapted, {"model=" + run(), "lora.rank=2", "k15.iterations=1"}));
  ASSERT_EQ(training.exit_code, 0) << training.err;
  EXPECT_THAT(training.out, HasSubstr("adapters of rank 2 on q_proj"));
  EXPECT_EQ(objects(training.out).back()["mismatch_max"], 0.0);

  ASSERT_EQ(run_program({"export", run(), whole}).exit_code, 0);
  ASSERT_EQ(run_program({"export", adapted, merged, "--merge"}).exit_code, 0);
  EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(merged) / "adapter_config.json"));
  const auto answer = [](const std::string& model) {
    return run_program({"generate", model, "--prompt", "1+2#", "--temperature", "0", "--precision", "fp32"}).out;
  };
  EXPECT_EQ(answer(whole), answer(run()));
  EXPECT_NE(answer(merged), "");

  const Outcome nothing = run_program({"export", run(), folder / "x", "--merge"});
  EXPECT_EQ(nothing.exit_code, 2);
  EXPECT_THAT(nothing.err, HasSubstr("has none"));
  EXPECT_EQ(run_program({"export", whole, whole}).exit_code, 2);
}

TEST_F(Commands, EvalMeasuresARunAndAModelAlike) {
  const Outcome of_run = run_program({"eval", run(), "--json"});
  const std::vector<json> lines = objects(of_run.out);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0]["kind"], "sampled");
  EXPECT_EQ(lines[1]["kind"], "greedy");
  expect_fields(lines[0], {"problems", "accuracy", "standard_error", "response_tokens_mean"});

  const json done = objects(training_.out).back();
  EXPECT_EQ(lines[0]["accuracy"], done["sampled_accuracy_after"]);
  EXPECT_EQ(lines[1]["accuracy"], done["greedy_accuracy_after"]);

  const Outcome of_model = run_program({"eval", run() + "/checkpoints/best", "chain.max_operators=3",
                                        "eval.problems=32", "k15.max_tokens=24", "--json"});
  EXPECT_EQ(objects(of_model.out).size(), 2u) << of_model.err;
}

TEST_F(Commands, GenerateDependsOnTheSeedAlone) {
  const Words words = {"generate", run(), "--prompt", "1+1-2*3#", "--samples", "4", "--max-tokens", "20", "--json"};
  const Outcome o = run_program(words);
  const std::vector<json> lines = objects(o.out);
  ASSERT_EQ(lines.size(), 4u);
  for (const json& line : lines) {
    expect_fields(line, {"prompt", "text", "ended", "tokens", "log_probs", "log_prob"});
    EXPECT_EQ(line["tokens"].size(), line["log_probs"].size());
  }
  EXPECT_EQ(run_program(words).out, o.out);
}

TEST_F(Commands, AnExportedModelAnswersAsTheRunDoes) {
  const std::string exported = (*folder_ / "exported").string();
  ASSERT_EQ(run_program({"export", run(), exported, "--shard-gb", "0.0001"}).exit_code, 0);
  EXPECT_TRUE(std::filesystem::exists(exported + "/model.safetensors.index.json"));
  const auto answer = [](const std::string& model) {
    const Outcome o = run_program({"generate", model, "--prompt", "1+1-2*3#", "--verbose", "--json"});
    EXPECT_THAT(o.err, HasSubstr("GB of memory: weights"));
    return o.out;
  };
  EXPECT_EQ(answer(exported), answer(run()));
}

TEST_F(Commands, TrainStartsFromATrainedModel) {
  const std::string next = (*folder_ / "next").string();
  const Outcome o = run_program(small_training(next, {"model=" + run(), "k15.iterations=1", "eval.every=1"}));
  ASSERT_EQ(o.exit_code, 0) << o.err;
  EXPECT_THAT(o.out, HasSubstr("no warm-up: the model was trained before"));
  EXPECT_EQ(objects(o.out).back()["sampled_accuracy_before"], objects(training_.out).back()["sampled_accuracy_after"]);
}

TEST_F(Commands, InspectListsTheThreadsOfARunThatGoesOn) {
  const std::string live = (*folder_ / "live").string();
  Program program(small_training(live));
  program.read_until("\"iteration\":1,");
  program.send(SIGSTOP);  // a stopped process shows, too
  const std::vector<json> threads = objects(run_program({"inspect", live, "threads", "--json"}).out);
  program.send(SIGKILL);
  std::vector<std::string> roles;
  for (const json& t : threads) {
    expect_fields(t, {"id", "name", "role", "state", "cpu_time_ms"});
    roles.push_back(t["role"]);
  }
  EXPECT_THAT(roles, ::testing::IsSupersetOf({"main", "metrics", "pool"}));
}

TEST(Help, ListsWhatThereIs) {
  const Outcome o = run_program({"--help"});
  EXPECT_EQ(o.exit_code, 0);
  for (const std::string command : {"train", "resume", "eval", "generate", "export", "list", "inspect", "bench"}) {
    EXPECT_THAT(o.out, HasSubstr("\n  " + command + " "));
    EXPECT_EQ(run_program({command, "--help"}).exit_code, 0);
  }
  EXPECT_THAT(o.out, Not(HasSubstr("serve")));
}

TEST(BenchAllreduce, RanksOfEveryTransportComputeTheSums) {
  for (const std::string transport : {"threads", "shm", "tcp"}) {
    const Outcome o = run_program({"bench", "allreduce", "--transport", transport, "--ranks", "3", "--bytes", "8",
                                   "4004", "--rounds", "1", "--json"});
    EXPECT_EQ(o.exit_code, 0) << o.err;
    const std::vector<json> rows = objects(o.out);
    EXPECT_GE(rows.size(), 6u) << transport;
    for (const json& row : rows) EXPECT_EQ(row["wrong"], 0) << row;
  }
}

TEST(List, PrintsAnObjectPerEntry) {
  std::vector<std::string> names;
  for (const json& entry : objects(run_program({"list", "--json"}).out)) names.push_back(entry["name"]);
  EXPECT_THAT(names, ::testing::IsSupersetOf({"pretrain", "k15", "rest", "sft", "chain", "jsonl", "text", "f32"}));
  EXPECT_THAT(run_program({"list", "tasks"}).out, Not(HasSubstr("k15")));
}

TEST(Keys, ShowEverySettingOfAPresetEvenIfSomeAreStillMissing) {
  EXPECT_THAT(run_program({"train", "chain", "--keys"}).out, HasSubstr("\nk15.tau "));
  EXPECT_THAT(run_program({"train", "jsonl", "--keys"}).out, HasSubstr("\njsonl.answer_mark "));
}

}  // namespace
}  // namespace gradus::cli
