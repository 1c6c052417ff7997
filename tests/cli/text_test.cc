// `gradus train text`: a model of the user's own files, from the first command to a resumed run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "gradus/core/json.h"
#include "runs.h"
#include "tests/core/temporary_folder.h"
#include "tests/posttrain/small_text.h"

namespace gradus::cli {
namespace {

namespace fs = std::filesystem;
using gradus::testing::TemporaryFolder;
using nlohmann::json;
using ::testing::HasSubstr;

std::vector<json> objects(const std::string& text) {
  std::vector<json> list;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    list.push_back(try_parse_json(line));
    EXPECT_TRUE(list.back().is_object()) << line;
  }
  return list;
}

Words words_of(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

class TextRun : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = std::make_unique<TemporaryFolder>();
    posttrain::write_small_text(*shared_ / "text");
    training_ = run_program(train(trained()));
    ASSERT_EQ(training_.exit_code, 0) << training_.err;
    uninterrupted_ = read_run(trained());
  }
  static void TearDownTestSuite() { shared_.reset(); }

  static std::string data() { return (*shared_ / "text").string(); }
  static std::string trained() { return (*shared_ / "run").string(); }
  static Words train(const std::string& directory, const Words& more = {}) {
    return words_of(
        {"train", "text", "data=" + data(), "architecture.layers=1", "architecture.width=32", "architecture.heads=2",
         "architecture.max_positions=64", "pretrain.context=32", "pretrain.sequences=8", "pretrain.tokens=15000",
         "pretrain.every=20", "pretrain.learning_rate=0.01", "pretrain.held_out_tokens=500", "threads=2", "--json",
         "--out", directory},
        more);
  }
  void expect_the_same_end() {
    const Outcome outcome = run_program({"resume", run_, "--json"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    expect_same_run(read_run(run_), uninterrupted_);
  }
  static std::string step(int iteration) { return fmt::format(R"("phase":"pretrain","iteration":{},)", iteration); }

  static std::unique_ptr<TemporaryFolder> shared_;
  static Outcome training_;
  static RunContent uninterrupted_;
  TemporaryFolder folder_;
  const std::string run_ = folder_ / "run";
};

std::unique_ptr<TemporaryFolder> TextRun::shared_;
Outcome TextRun::training_;
RunContent TextRun::uninterrupted_;

TEST_F(TextRun, PrintsAnObjectPerStepAndLastTheResult) {
  EXPECT_EQ(training_.err, "");
  const std::vector<json> lines = objects(training_.out);
  int64_t steps = 0;
  for (const json& line : lines) {
    if (line.value("phase", "") != "pretrain") continue;
    EXPECT_EQ(line["iteration"], ++steps);
    for (const char* name : {"loss", "grad_norm", "learning_rate", "tokens", "tokens_per_s", "elapsed_s"}) {
      EXPECT_TRUE(line.contains(name)) << name;
    }
    EXPECT_EQ(line.contains("held_out_bits_per_byte"), steps % 20 == 0 || steps == 59) << steps;
  }
  EXPECT_EQ(steps, 59);  // of 256 tokens
  const json& done = lines.back();
  EXPECT_EQ(done["event"], "done");
  EXPECT_GT(done["held_out_bits_per_byte_before"], 8.0);
  EXPECT_LT(done["held_out_bits_per_byte_after"], 3.0);
  EXPECT_LT(done["held_out_loss_after"], done["held_out_loss_before"]);
  EXPECT_EQ(done["mismatch_max"], 0.0);
  EXPECT_EQ(done["tokens"], 59 * 256);
  EXPECT_TRUE(done["text"].is_string());
  EXPECT_THAT(training_.out, HasSubstr("6 files, "));
  EXPECT_TRUE(fs::exists(trained() + "/curves.svg"));
}

class TextRunAfterKill : public TextRun, public ::testing::WithParamInterface<int> {};

TEST_P(TextRunAfterKill, GoesOnWithTheBitsOfAnUninterruptedRun) {
  {
    Program program(train(run_));
    program.read_until(step(GetParam()));
    program.send(SIGKILL);
    ASSERT_EQ(program.wait().exit_code, 128 + SIGKILL);
  }
  expect_the_same_end();
}

INSTANTIATE_TEST_SUITE_P(Steps, TextRunAfterKill, ::testing::Values(1, 20, 45));

TEST_F(TextRun, AfterControlCAndAClosedPipeLosesNothing) {
  {
    Program program(train(run_));
    program.read_until(step(5));
    program.send(SIGINT);
    const Outcome outcome = program.wait();
    EXPECT_EQ(outcome.exit_code, 130);
    EXPECT_THAT(outcome.err, HasSubstr("`gradus resume " + run_ + "` goes on\n"));
  }
  {
    Program program({"resume", run_, "--json"});
    program.read_until(step(30));
    program.close_stdout();
    EXPECT_EQ(program.wait().exit_code, 130);
  }
  expect_the_same_end();
}

TEST_F(TextRun, OnOtherThreadsGivesTheSameBits) {
  for (const std::string threads : {"1", "3"}) {
    const std::string run = folder_ / ("threads-" + threads);
    const Outcome outcome = run_program(train(run, {"threads=" + threads}));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    expect_same_run(read_run(run), uninterrupted_);
  }
}

TEST_F(TextRun, DoesNotGoOnWithOtherText) {
  const std::string own = posttrain::write_small_text(folder_ / "text");
  {
    Program program(words_of(train(run_), {"data=" + own}));
    program.read_until(step(5));
    program.send(SIGINT);
    program.wait();
  }
  write_file_atomically(folder_ / "text/0.txt", posttrain::sentences(10, 77));
  const Outcome outcome = run_program({"resume", run_});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr(own + ": not the text that the run " + run_ + " began with; put that back"));
}

TEST_F(TextRun, ForPeopleShowsTheTableAndAContinuation) {
  const Outcome o = run_program({"resume", trained()});
  EXPECT_EQ(o.exit_code, 0) << o.err;
  for (const char* part : {"held-out bytes", "loss, nats per token", "bits per byte",
                           "mismatch_max 0:", "Held-out text, and how the model goes on"}) {
    EXPECT_THAT(o.out, HasSubstr(part));
  }
  EXPECT_THAT(o.out, HasSubstr(" generate " + trained() + " --temperature 0.7 --prompt '"));
}

TEST_F(TextRun, EvalMeasuresTheLossOfARunAndOfAModel) {
  const json done = objects(training_.out).back();
  const std::vector<json> of_run = objects(run_program({"eval", trained(), "--json"}).out);
  ASSERT_EQ(of_run.size(), 1u);
  EXPECT_EQ(of_run[0]["kind"], "held_out");
  EXPECT_EQ(of_run[0]["bits_per_byte"], done["held_out_bits_per_byte_after"]);
  EXPECT_EQ(of_run[0]["loss"], done["held_out_loss_after"]);
  const Outcome of_model = run_program({"eval", trained() + "/checkpoints/best", "--task", "text", "data=" + data(),
                                        "pretrain.context=32", "pretrain.held_out_tokens=500", "--json"});
  EXPECT_EQ(objects(of_model.out).size(), 1u) << of_model.err;
  EXPECT_EQ(run_program({"eval", trained(), "--episodes", "3"}).exit_code, 2);
}

TEST_F(TextRun, GenerateTakesAnyBytes) {
  const Outcome o = run_program({"generate", trained(), "--prompt", "the \xff\x01 cat", "--max-tokens", "8", "--json"});
  ASSERT_EQ(o.exit_code, 0) << o.err;
  EXPECT_EQ(objects(o.out).at(0)["tokens"].size(), 8u);
}

TEST_F(TextRun, StartsFromAModelOfBytesAndFromNoOther) {
  const Outcome next = run_program(train(run_, {"model=" + trained(), "pretrain.tokens=256"}));
  ASSERT_EQ(next.exit_code, 0) << next.err;
  EXPECT_EQ(objects(next.out).back()["held_out_loss_before"], objects(training_.out).back()["held_out_loss_after"]);

  const std::string chain = folder_ / "chain";
  ASSERT_EQ(run_program(small_training(chain, {"sft.tokens=2000", "k15.iterations=1"})).exit_code, 0);
  const Outcome refused = run_program(train(folder_ / "other", {"model=" + chain}));
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("is not of bytes"));
  EXPECT_FALSE(fs::exists(folder_ / "other"));
}

TEST_F(TextRun, TextThatCannotBeLearnedFromIsOneLineAndNoRun) {
  const auto refused = [&](const std::string& path, const std::string& part) {
    const Outcome o = run_program(train(run_, {"data=" + path, "pretrain.context=64"}));
    EXPECT_EQ(o.exit_code, 1);
    EXPECT_EQ(o.out, "");
    EXPECT_THAT(o.err, HasSubstr(part));
    EXPECT_EQ(std::ranges::count(o.err, '\n'), 1) << o.err;
    EXPECT_FALSE(fs::exists(run_));
  };
  refused(folder_ / "none", "none: no such file or folder; give one with text");
  refused(folder_.path().string(), "no file in this folder");
  write_file_atomically(folder_ / "empty", "");
  refused(folder_ / "empty", "empty: no text, not one byte");
  write_file_atomically(folder_ / "word", "word");
  refused(folder_ / "word", "word: 4 bytes are too little text");
  write_file_atomically(folder_ / "short", posttrain::numbered_lines(0, 12));  // pieces of 64 and 32 bytes
  refused(folder_ / "short", "short: no text for training is as long as a window of 64 bytes");
}

}  // namespace
}  // namespace gradus::cli
