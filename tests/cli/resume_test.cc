// Nothing that ends a run early may change what it ends up as.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>

#include "gradus/core/file.h"
#include "runs.h"
#include "tests/core/temporary_folder.h"

namespace gradus::cli {
namespace {

using gradus::testing::TemporaryFolder;
using ::testing::HasSubstr;

class Resume : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const TemporaryFolder folder;
    const std::string directory = folder / "run";
    const Outcome outcome = run_program(small_training(directory));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    uninterrupted_ = new RunContent(read_run(directory));
  }
  static void TearDownTestSuite() {
    delete uninterrupted_;
    uninterrupted_ = nullptr;
  }

  void SetUp() override { ASSERT_NE(uninterrupted_, nullptr); }

  // Resumes to the end and compares.
  void expect_the_same_end() {
    const Outcome outcome = run_program({"resume", run_, "--json"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    expect_same_run(read_run(run_), *uninterrupted_);
  }

  static RunContent* uninterrupted_;
  TemporaryFolder folder_;
  const std::string run_ = folder_ / "run";
};

RunContent* Resume::uninterrupted_ = nullptr;

std::string step(const std::string& phase, int iteration) {
  return "\"phase\":\"" + phase + "\",\"iteration\":" + std::to_string(iteration) + ",";
}

class ResumeAfterKill : public Resume, public ::testing::WithParamInterface<std::string> {};

// The lines at which the process is killed: before and behind the checkpoint in the warm-up, at its end, at the
// evaluation, and in and between iterations with and without a checkpoint.
TEST_P(ResumeAfterKill, GivesTheBitsOfAnUninterruptedRun) {
  {
    Program program(small_training(run_));
    program.read_until(GetParam());
    program.send(SIGKILL);
    ASSERT_EQ(program.wait().exit_code, 128 + SIGKILL);
  }
  expect_the_same_end();
}

INSTANTIATE_TEST_SUITE_P(Moments, ResumeAfterKill,
                         ::testing::Values(step("sft", 1), step("sft", 150), step("sft", 210), "\"before\"",
                                           step("k15", 1), step("k15", 2), step("k15", 3)));

// In 16 bits a checkpoint keeps master weights and the scaler's state, or bf16 weights and nothing besides.
class ResumeIn16Bits : public ::testing::TestWithParam<std::string> {};

TEST_P(ResumeIn16Bits, GivesTheBitsOfAnUninterruptedRun) {
  const TemporaryFolder folder;
  const std::string whole = folder / "whole", killed = folder / "killed";
  const Words precision = {"precision=" + GetParam()};
  ASSERT_EQ(run_program(small_training(whole, precision)).exit_code, 0);
  Words words = small_training(killed, precision);
  for (const std::string& moment : {step("sft", 150), step("sft", 210), step("k15", 3)}) {
    Program program(words);
    program.read_until(moment);
    program.send(SIGKILL);
    ASSERT_EQ(program.wait().exit_code, 128 + SIGKILL);
    words = {"resume", killed, "--json"};
  }
  const Outcome outcome = run_program(words);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  expect_same_run(read_run(killed), read_run(whole));
}

INSTANTIATE_TEST_SUITE_P(Precisions, ResumeIn16Bits, ::testing::Values("bf16", "fp16", "bf16-pure"));

TEST_F(Resume, AfterManyKillsGivesTheBitsOfAnUninterruptedRun) {
  Words words = small_training(run_);
  for (const std::string& moment : {step("sft", 205), step("sft", 220), step("k15", 1), step("k15", 3)}) {
    Program program(words);
    program.read_until(moment);
    program.send(SIGKILL);
    ASSERT_EQ(program.wait().exit_code, 128 + SIGKILL);
    words = {"resume", run_, "--json"};
  }
  expect_the_same_end();
}

TEST_F(Resume, AfterControlCLosesNothing) {
  for (const std::string& moment : {step("sft", 150), step("k15", 1)}) {
    Program program(std::filesystem::exists(run_) ? Words{"resume", run_, "--json"} : small_training(run_));
    program.read_until(moment);
    program.send(SIGINT);
    const Outcome outcome = program.wait();
    EXPECT_EQ(outcome.exit_code, 130);
    EXPECT_THAT(outcome.err, HasSubstr("`gradus resume " + run_ + "` goes on\n"));
  }
  expect_the_same_end();
}

TEST_F(Resume, AfterAClosedPipeLosesNothing) {
  for (const std::string& moment : {step("sft", 1), step("k15", 1)}) {
    Program program(std::filesystem::exists(run_) ? Words{"resume", run_, "--json"} : small_training(run_));
    program.read_until(moment);
    program.close_stdout();
    const Outcome outcome = program.wait();
    EXPECT_EQ(outcome.exit_code, 130);
    EXPECT_EQ(outcome.err, "");
  }
  expect_the_same_end();
}

TEST_F(Resume, AfterAFullDiskGoesOn) {
  const Outcome full = run_program(small_training(run_), {.file_bytes = 120'000});
  EXPECT_EQ(full.exit_code, 1);
  EXPECT_EQ(std::count(full.err.begin(), full.err.end(), '\n'), 1) << full.err;
  expect_the_same_end();
}

TEST_F(Resume, OfAFinishedRunShowsItsEndAgain) {
  const Outcome first = run_program(small_training(run_)), again = run_program({"resume", run_, "--json", "--quiet"});
  EXPECT_EQ(again.exit_code, 0);
  EXPECT_THAT(first.out, HasSubstr(again.out));
  expect_same_run(read_run(run_), *uninterrupted_);
}

TEST_F(Resume, DuringTheRunIsRefusedAndDoesNoHarm) {
  Program program(small_training(run_));
  program.read_until(step("sft", 1));
  for (const Words& second : {Words{"resume", run_}, small_training(run_)}) {
    const Outcome refused = run_program(second);
    EXPECT_EQ(refused.exit_code, 1);
    EXPECT_THAT(refused.err, HasSubstr("is in use by process " + std::to_string(program.pid())));
  }
  const Outcome outcome = program.wait();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  expect_same_run(read_run(run_), *uninterrupted_);
}

TEST_F(Resume, OnOtherThreadsGivesTheSameBits) {
  for (const std::string threads : {"1", "3"}) {
    const std::string run = folder_ / ("threads-" + threads);
    const Outcome outcome = run_program(small_training(run, {"threads=" + threads}));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    expect_same_run(read_run(run), *uninterrupted_);
  }
}

TEST_F(Resume, OfTheSameSeedIsTheSameRunAndOfAnotherIsNot) {
  ASSERT_EQ(run_program(small_training(run_)).exit_code, 0);
  expect_same_run(read_run(run_), *uninterrupted_);
  const std::string other = folder_ / "other";
  ASSERT_EQ(run_program(small_training(other, {"--seed", "2"})).exit_code, 0);
  EXPECT_FALSE(read_run(other).weights == uninterrupted_->weights);
}

}  // namespace
}  // namespace gradus::cli
