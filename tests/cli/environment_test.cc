// Training in environments from the command line: what is printed, resumed and refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "gradus/core/file.h"
#include "gradus/core/json.h"
#include "gradus/run/database.h"
#include "program.h"
#include "tests/core/temporary_folder.h"

namespace gradus::cli {
namespace {

using gradus::testing::TemporaryFolder;
using nlohmann::json;
using ::testing::HasSubstr;

json last_object(const std::string& text) {
  std::istringstream lines(text);
  json last;
  for (std::string line; std::getline(lines, line);) last = try_parse_json(line);
  return last;
}

TEST(TrainInAnEnvironment, ShowsValuesPolicyAndWhereThePicturesAre) {
  const TemporaryFolder folder;
  const std::string run = (folder / "run").string();
  const Outcome o = run_program({"train", "grid/q-learning", "seeds=2", "--out", run});
  EXPECT_EQ(o.exit_code, 0) << o.err;
  EXPECT_THAT(o.out, HasSubstr("Values and policy (seed 1):"));
  EXPECT_THAT(o.out, HasSubstr("\u2192"));
  EXPECT_THAT(o.out, HasSubstr("Root mean square error of the values:"));
  for (const char* picture : {"curves.svg", "errors.svg", "values.svg"}) {
    EXPECT_THAT(o.out, HasSubstr(picture));
    EXPECT_THAT(read_file(folder / "run" / picture), HasSubstr("</svg>"));
  }
}

TEST(TrainInAnEnvironment, PrintsObjectsThatPlayAndEvalGoOnFrom) {
  const TemporaryFolder folder;
  const std::string run = (folder / "run").string();
  const Outcome o = run_program({"train", "grid/sarsa", "episodes=1000", "--json", "--out", run});
  ASSERT_EQ(o.exit_code, 0) << o.err;
  const json done = last_object(o.out);
  EXPECT_EQ(done["event"], "done");
  EXPECT_EQ(done["values"].size(), 25u);
  EXPECT_EQ(done["policy"].size(), 25u);

  const Outcome played = run_program({"play", run, "--json"});
  EXPECT_EQ(played.exit_code, 0) << played.err;
  EXPECT_EQ(last_object(played.out)["terminated"], true);
  const Outcome evaluated = run_program({"eval", run, "--episodes", "10", "--json"});
  EXPECT_EQ(evaluated.exit_code, 0) << evaluated.err;
  EXPECT_EQ(last_object(evaluated.out)["episodes"], 10);
}

TEST(TrainInAnEnvironment, ANetworkIsTrainedAndPlayed) {
  const TemporaryFolder folder;
  const std::string run = (folder / "run").string();
  const Outcome o = run_program({"train", "grid/off-policy-dqn", "episodes=250", "--json", "--out", run});
  ASSERT_EQ(o.exit_code, 0) << o.err;
  EXPECT_LT(last_object(o.out)["value_error"], 1);
  const Outcome played = run_program({"play", run, "--json"});
  EXPECT_EQ(played.exit_code, 0) << played.err;
  EXPECT_EQ(last_object(played.out)["terminated"], true);
}

TEST(TrainInAnEnvironment, InterruptedAndResumedEndsWithTheSameBits) {
  const TemporaryFolder folder;
  const auto words = [&](const char* name) {
    return Words{"train", "frozenlake", "episodes=60000", "reports=300", "--json", "--out", (folder / name).string()};
  };
  const Outcome whole = run_program(words("whole"));
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  Program cut(words("cut"));
  cut.read_until("\"episode\"");
  cut.send(SIGINT);
  const Outcome interrupted = cut.wait();
  ASSERT_EQ(interrupted.exit_code, 130) << interrupted.err;
  EXPECT_THAT(interrupted.err, HasSubstr("go on with `gradus resume"));
  const Outcome resumed = run_program({"resume", (folder / "cut").string(), "--json"});
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_EQ(last_object(resumed.out)["values"], last_object(whole.out)["values"]);
  const auto metrics = [&](const char* name) {
    return run::Database(folder / name / "run.sqlite", run::Database::Mode::read).metrics();
  };
  EXPECT_EQ(metrics("cut"), metrics("whole"));
}

TEST(TrainInAnEnvironment, WrongSettingsAreOneClearLine) {
  struct Case {
    Words words;
    const char* says;
  };
  for (const Case& c :
       {Case{{"train", "grid/sarsaa"}, "did you mean 'sarsa'?"}, Case{{"train", "gridd"}, "did you mean 'grid'?"},
        Case{{"train", "grid", "gamma=1.5"}, "gamma is 1.5, but must lie in [0, 1]"},
        Case{{"train", "grid", "eps=-0.1"}, "eps is -0.1, but must lie in [0, 1]"},
        Case{{"train", "grid", "alpha=2"}, "alpha is 2, but must lie in [0, 1]"},
        Case{{"train", "grid", "grid.reward_targt=1"}, "the nearest known key is grid.reward_target"},
        Case{{"train", "chain/q-learning"}, "algorithm 'q-learning' is not known"}}) {
    const Outcome o = run_program(c.words);
    EXPECT_EQ(o.exit_code, 2) << c.says;
    EXPECT_THAT(o.err, HasSubstr(c.says));
    EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
  }
}

TEST(TrainInAnEnvironment, WhatCannotBeLearnedLeavesNoFolder) {
  const TemporaryFolder folder;
  struct Case {
    Words settings;
    const char* says;
  };
  for (const Case& c : {Case{{"grid.map=..T/.x.", "grid.start_row=0"}, "map:2:2: 'x' is not a cell"},
                        Case{{"grid.map=..T/.."}, "map:2:3: this row has 2 cells, the first has 3"},
                        Case{{"grid.map=S#T", "grid.forbidden_is_wall=true", "grid.start_row=0", "grid.start_column=0"},
                             "no start reaches the target"},
                        Case{{"grid.target_is_terminal=false", "gamma=1"}, "the episodes of grid never end"},
                        Case{{"algorithm=off-policy-q-learning", "behaviour=up", "behaviour_eps=0"},
                             "the behaviour policy never takes right"},
                        Case{{"algorithm=td0", "evaluations=2"}, "has none of its own to try"},
                        Case{{"algorithm=dqn", "network.hidden=0"}, "network.hidden has a width of 0"}}) {
    Words words = {"train", "grid", "--out", (folder / "run").string()};
    words.insert(words.end(), c.settings.begin(), c.settings.end());
    const Outcome o = run_program(words);
    EXPECT_EQ(o.exit_code, 2) << c.says;
    EXPECT_THAT(o.err, HasSubstr(c.says));
    EXPECT_FALSE(std::filesystem::exists(folder / "run"));
  }
}

}  // namespace
}  // namespace gradus::cli
