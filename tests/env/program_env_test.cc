#include "gradus/env/program_env.h"

#include <gmock/gmock.h>

#include "gradus/core/file.h"
#include "gradus/env/catalogue.h"
#include "gradus/env/vec_env.h"
#include "tests/core/expect_error.h"
#include "tests/core/temporary_folder.h"

namespace gradus::env {
namespace {

using gradus::testing::TemporaryFolder;
using ::testing::ElementsAre;

const std::string kExample = GRADUS_SOURCE_DIR "/examples/environment/my_env.py";
constexpr std::string_view kHello =
    R"({"observation_space": {"n": 4, "start": 1}, "action_space": {"low": [-1, null], "high": [1, 2]}})";

// A program of the shell that says hello, then `body` for each line that it reads.
class Script {
 public:
  explicit Script(std::string_view body, std::string_view hello = kHello) {
    write_file_atomically(path(), fmt::format("#!/bin/sh\necho '{}'\nwhile read -r line; do\n{}\ndone\n", hello, body));
    std::filesystem::permissions(path(), std::filesystem::perms::owner_all);
  }
  std::filesystem::path path() const { return folder_ / "env"; }
  ProgramEnv run(double timeout_s = 60) const { return {path().string(), {.timeout_s = timeout_s}}; }

 private:
  TemporaryFolder folder_;
};

TEST(ProgramEnv, IsWhatItsFirstLineSays) {
  const Script script(
      ":",
      R"({"observation_space": {"n": 4, "start": 1}, "reward_threshold": 7, "action_space": {"low": [-1, null], "high": [1, 2]}, "max_episode_steps": 9})");
  const ProgramEnv env = script.run();
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(env.spec().id, script.path().string());
  EXPECT_EQ(env.spec().observation_space, Space(Discrete{.n = 4, .start = 1}));
  EXPECT_EQ(env.spec().action_space, Space(Box{.low = {-1, -infinity}, .high = {1, 2}}));
  EXPECT_EQ(env.spec().reward_threshold, 7);
  EXPECT_EQ(env.own_max_episode_steps(), 9);
}

TEST(ProgramEnv, AsksAndTakesAnswersByGymnasiumsNames) {
  const Script script(R"(case $line in
*reset*) echo '{"observation": 3, "info": {"k": 1}}';;
*step*) echo '{"observation": [4], "reward": -0.5, "terminated": false, "truncated": true}';;
esac)");
  ProgramEnv env = script.run();
  EXPECT_THAT(env.reset(7, {{"height", 2}}), ElementsAre(3));
  const StepResult r = env.step(std::vector<double>{0.25, -3});
  EXPECT_THAT(r.observation, ElementsAre(4));
  EXPECT_EQ(r.reward, -0.5);
  EXPECT_FALSE(r.terminated);
  EXPECT_TRUE(r.truncated);
  EXPECT_GRADUS_ERROR(env.step(std::vector<double>{0, 0}), invalid_argument, "the episode is over; reset first");
}

TEST(ProgramEnv, GetsSeedOptionsAndActionAsJson) {
  const TemporaryFolder folder;
  const std::string log = (folder / "log").string();
  const Script script(fmt::format(R"(echo "$line" >> {}
case $line in
*reset*) echo '{{"observation": 3}}';;
*) echo '{{"observation": 4, "reward": 1, "terminated": false, "truncated": false}}';;
esac)",
                                  log));
  ProgramEnv env = script.run();
  env.reset(18446744073709551615U, {{"height", 2}});
  env.reset({}, {});
  env.step(std::vector<double>{0.25, -3});
  EXPECT_EQ(read_file(log), R"({"call":"reset","options":{"height":2.0},"seed":18446744073709551615}
{"call":"reset"}
{"action":[0.25,-3.0],"call":"step"}
)");
}

TEST(ProgramEnv, RefusesAnActionOutsideWithoutAsking) {
  const Script script(R"(echo '{"observation": 3}')");
  ProgramEnv env = script.run();
  env.reset(1, {});
  EXPECT_GRADUS_ERROR(env.step(std::vector<double>{2, 0}), invalid_argument, "step: the action is not in Box(2)");
}

TEST(ProgramEnv, NamesWhatIsWrongWithAnAnswer) {
  const auto reset = [](std::string_view answer) {
    const Script script(fmt::format("echo 'a last word' >&2; echo '{}'", answer));
    script.run().reset(1, {});
  };
  EXPECT_GRADUS_ERROR(reset("hello"), corrupt, "it wrote \"hello\": this is not JSON");
  EXPECT_GRADUS_ERROR(reset(R"({"observation": NaN})"), corrupt, "NaN and Infinity are not");
  EXPECT_GRADUS_ERROR(reset("[1]"), corrupt, "this is no object");
  EXPECT_GRADUS_ERROR(reset("{}"), corrupt,
                      "it has no 'observation'; it must write {\"observation\": [X, ...]} for a reset");
  EXPECT_GRADUS_ERROR(reset(R"({"observation": [1, 2]})"), corrupt, "observation has 2 numbers, but its space has 1");
  EXPECT_GRADUS_ERROR(reset(R"({"observation": ["x"]})"), corrupt, "observation[0] is not a number");
  EXPECT_GRADUS_ERROR(reset(R"({"observation": 1, "obs": 1})"), corrupt, "the key \"obs\" is not known");
  EXPECT_GRADUS_ERROR(reset("{}"), corrupt, "; it said: a last word");
  const auto step = [](std::string_view answer) {
    const Script script(fmt::format(R"(case $line in
*reset*) echo '{{"observation": 3}}';;
*) echo '{}';;
esac)",
                                    answer));
    ProgramEnv env = script.run();
    env.reset(1, {});
    env.step(std::vector<double>{0, 0});
  };
  EXPECT_GRADUS_ERROR(step(R"({"observation": 1, "reward": 1, "terminated": false})"), corrupt,
                      "it has no 'truncated'");
  EXPECT_GRADUS_ERROR(step(R"({"observation": 1, "reward": 1, "terminated": 0, "truncated": false})"), corrupt,
                      "terminated is not true or false");
}

TEST(ProgramEnv, NamesWhatIsWrongWithTheFirstLine) {
  const auto start = [](std::string_view hello) { Script(":", hello).run(); };
  EXPECT_GRADUS_ERROR(start("{}"), corrupt, "it has no 'observation_space'; it must write first {");
  EXPECT_GRADUS_ERROR(start(R"({"observation_space": {"n": 0}})"), corrupt, "n is not a whole number of at least 1");
  EXPECT_GRADUS_ERROR(start(R"({"observation_space": {"low": [1, 2], "high": [1]}})"), corrupt,
                      "observation_space has 2 numbers in low, but 1 in high");
}

TEST(ProgramEnv, AProgramThatDiesIsNamedWithItsLastWords) {
  const Script killed("echo 'I am tired' >&2; kill -9 $$");
  ProgramEnv env = killed.run();
  EXPECT_GRADUS_ERROR(env.reset(1, {}), peer_lost, fmt::format("environment {}: program", killed.path().string()));
  ProgramEnv again = killed.run();
  EXPECT_GRADUS_ERROR(again.reset(1, {}), peer_lost, "was ended by signal 9 (Killed)");
  EXPECT_GRADUS_ERROR(again.reset(1, {}), peer_lost, "it was stopped after an error");
  ProgramEnv third = killed.run();
  EXPECT_GRADUS_ERROR(third.reset(1, {}), peer_lost, "; it said: I am tired");
  const Script ended("exit 3");
  ProgramEnv exits = ended.run();
  EXPECT_GRADUS_ERROR(exits.reset(1, {}), peer_lost, "exited with code 3");
}

TEST(ProgramEnv, AProgramThatDoesNotAnswerMeetsItsDeadline) {
  const Script silent(":");
  EXPECT_GRADUS_ERROR(silent.run(0.05).reset(1, {}), timeout, " before the deadline; flush stdout");
}

TEST(ProgramEnv, RefusesWhatIsNoProgram) {
  EXPECT_GRADUS_ERROR(ProgramEnv("./no/such.py", {}), not_found, "environment ./no/such.py: ");
  EXPECT_GRADUS_ERROR(ProgramEnv(kExample, {.timeout_s = 0}), invalid_argument, "program.timeout_s is 0");
}

TEST(ProgramEnv, TheCatalogueTakesAPathAsAName) {
  EnvConfig c;
  c.name = kExample;
  EXPECT_EQ(make_env(c)->spec().max_episode_steps, 200);
  c.max_episode_steps = 3;
  EXPECT_EQ(make_env(c)->spec().max_episode_steps, 3);
  c.max_episode_steps = 0;
  EXPECT_EQ(make_env(c)->spec().max_episode_steps, 0);
}

TEST(ProgramEnv, APythonFileNeedNotBeExecutable) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "env.py", read_file(kExample));
  EXPECT_EQ(ProgramEnv((folder / "env.py").string(), {}).own_max_episode_steps(), 200);
}

TEST(ProgramEnv, IsRestoredByPlayingItAgain) {
  EnvConfig c;
  c.name = kExample;
  const auto make = [&] { return make_env(c); };
  const auto whole = make_vec_env(make, {.num_envs = 2, .num_threads = 2});
  whole->reset(3);
  const std::vector<float> up(2, 2);
  for (int i = 0; i < 5; ++i) whole->step(up);
  const auto resumed = make_vec_env(make, {.num_envs = 2});
  resumed->restore(whole->state());
  for (int i = 0; i < 40; ++i) {  // beyond an end
    const VecStep a = whole->step(up), b = resumed->step(up);
    ASSERT_THAT(b.observations, ::testing::ElementsAreArray(a.observations));
    ASSERT_THAT(b.episode_lengths, ::testing::ElementsAreArray(a.episode_lengths));
  }
}

}  // namespace
}  // namespace gradus::env
