// Watching what a run has learned: as a picture, on a terminal, as a table.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>

#include "gradus/core/file.h"
#include "program.h"
#include "tests/core/temporary_folder.h"
#include "tests/core/well_formed.h"

namespace gradus::cli {
namespace {

using gradus::testing::TemporaryFolder;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

// A run of one training, in a folder of its own.
class Trained {
 public:
  explicit Trained(Words train) {
    train.insert(train.begin(), "train");
    for (const char* word : {"--quiet", "--out"}) train.emplace_back(word);
    train.push_back(run());
    const Outcome o = run_program(train);
    if (o.exit_code != 0) throw std::runtime_error(o.err);
  }
  std::string run() const { return (folder_ / "run").string(); }
  std::string file(const char* name) const { return (folder_ / name).string(); }

 private:
  TemporaryFolder folder_;
};

void expect_refused(const Outcome& o, int exit_code, const std::string& says) {
  EXPECT_EQ(o.exit_code, exit_code);
  EXPECT_THAT(o.err, HasSubstr(says));
  EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
}

TEST(Play, WritesAPictureThatMoves) {
  const Trained t({"cartpole", "steps=2048"});
  const std::string file = t.file("episode.svg");
  const Outcome o = run_program({"play", t.run(), "--svg", file, "--episodes", "2"});
  ASSERT_EQ(o.exit_code, 0) << o.err;
  EXPECT_EQ(std::count(o.out.begin(), o.out.end(), '\n'), 3) << o.out;
  const std::string svg = read_file(file);
  EXPECT_TRUE(gradus::testing::is_well_formed(svg));
  EXPECT_LT(svg.size(), 300'000u);
  const size_t values = svg.find("values=\"");
  ASSERT_NE(values, std::string::npos);
  const std::string places = svg.substr(values, svg.find('"', values + 8) - values);
  EXPECT_GT(std::count(places.begin(), places.end(), ';'), 10);
}

TEST(Play, APictureThatCannotBeWrittenIsOneClearLine) {
  const Trained t({"grid/q-learning", "episodes=10"});
  expect_refused(run_program({"play", t.run(), "--svg", t.file("absent/a.svg")}), 2, "absent; make it first");
  expect_refused(run_program({"play", t.run(), "--svg", t.run()}), 2, "is no file; give a name such as");
  expect_refused(run_program({"play", t.run(), "--svg", "/dev/full"}), 2, "/dev/full is no file");
  expect_refused(run_program({"play", t.run(), "--svg", t.file("a.svg")}, {.file_bytes = 100}), 1, "a.svg");
  expect_refused(run_program({"play", t.run(), "--svg", "/proc/a.svg"}), 1, "give --svg another file");
  EXPECT_FALSE(std::filesystem::exists(t.file("a.svg")));
}

TEST(Play, AnEnvironmentWithoutPicturesHasATable) {
  const Trained t({"blackjack/q-learning", "episodes=10"});
  expect_refused(run_program({"play", t.run(), "--svg", t.file("a.svg")}), 2,
                 "blackjack draws no pictures of itself; leave out --svg");
  const Outcome o = run_program({"play", t.run()}, {.terminal = true});
  EXPECT_EQ(o.exit_code, 0) << o.err;
  EXPECT_THAT(o.out, HasSubstr("   1  "));
  EXPECT_THAT(o.out, Not(HasSubstr("\x1b")));
}

TEST(Play, OnATerminalItIsAnimatedAndTheCursorComesBack) {
  const Trained t({"grid/q-learning", "episodes=1000"});
  const Outcome o = run_program({"play", t.run(), "--speed", "0"}, {.terminal = true});
  EXPECT_EQ(o.exit_code, 0) << o.err;
  EXPECT_THAT(o.out, HasSubstr("\u2580"));
  EXPECT_THAT(o.out, HasSubstr("step 1  action "));
  EXPECT_LT(o.out.find("\x1b[?25l"), o.out.find("\x1b[?25h"));
  EXPECT_THAT(o.out, EndsWith("terminated\r\n"));
}

TEST(Play, CtrlCEndsAnAnimationAndTheCursorComesBack) {
  const Trained t({"grid/q-learning", "episodes=10"});
  Program p({"play", t.run(), "--speed", "0", "--episodes", "1000000"}, {.terminal = true});
  p.read_until("step 0");
  p.send(SIGINT);
  const Outcome o = p.wait();
  EXPECT_EQ(o.exit_code, 130);
  EXPECT_EQ(o.err, "");
  EXPECT_THAT(o.out, EndsWith("\x1b[?25h"));
}

TEST(Play, APredictionHasNoPolicy) {
  const TemporaryFolder folder;
  const std::string run = (folder / "run").string();
  ASSERT_EQ(run_program({"train", "walk", "--quiet", "--out", run}).exit_code, 0);
  const Outcome o = run_program({"play", run});
  EXPECT_EQ(o.exit_code, 2);
  EXPECT_THAT(o.err, HasSubstr("take a control algorithm"));
}

}  // namespace
}  // namespace gradus::cli
