#include "gradus/posttrain/reward_program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "gradus/core/error.h"
#include "gradus/core/json.h"
#include "gradus/posttrain/tasks/chain.h"

namespace gradus::posttrain {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

class Script {
 public:
  explicit Script(const std::string& body, bool executable = true) {
    static std::atomic<int> n_scripts{0};
    path_ = std::filesystem::temp_directory_path() / fmt::format("gradus_reward_{}_{}.sh", getpid(), n_scripts++);
    std::ofstream(path_) << "#!/bin/sh\n" << body;
    if (executable) std::filesystem::permissions(path_, std::filesystem::perms::owner_all);
  }
  ~Script() { std::filesystem::remove(path_); }
  Script(const Script&) = delete;
  Script& operator=(const Script&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

Problem problem(const std::string& text, const std::string& answer) {
  Problem p;
  p.text = text;
  p.answer = answer;
  return p;
}

ErrorCode code_of(RewardProgram& program) {
  const Problem p = problem("1+1", "2");
  const Judged sample{&p, "=2"};
  try {
    program.judge({&sample, 1});
  } catch (const Error& e) {
    return e.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::io;
}

TEST(RewardRequest, IsOneJsonObject) {
  Problem p = problem("say \"hi\"\n", "2");
  p.row = R"({"question":"q","tags":[1,2]})";
  const auto request = parse_json(to_request({&p, "a\nb"}), "request");
  EXPECT_EQ(request["prompt"], p.text);
  EXPECT_EQ(request["answer"], "2");
  EXPECT_EQ(request["response"], "a\nb");
  EXPECT_EQ(request["row"]["tags"][1], 2);
  EXPECT_EQ(to_request({&p, "a\nb"}).find('\n'), std::string::npos);
  p.row = "";
  EXPECT_TRUE(parse_json(to_request({&p, ""}), "request")["row"].is_null());
}

TEST(RewardRequest, ReplacesBytesThatAreNotUtf8) {
  const Problem p = problem("a", "b");
  EXPECT_EQ(parse_json(to_request({&p, "x\xff"}), "request")["response"], "x\xef\xbf\xbd");
}

TEST(RewardReply, NumberIsTheReward) {
  EXPECT_EQ(parse_reply("0.5", "r").value, 0.5);
  EXPECT_FALSE(parse_reply("0.5", "r").correct);
  EXPECT_TRUE(parse_reply(" 1 ", "r").correct);
  EXPECT_EQ(parse_reply("true", "r").value, 1.0);
  EXPECT_EQ(parse_reply("-2", "r").value, -2.0);
}

TEST(RewardReply, ObjectHasVerdictAndComponents) {
  const Reward r = parse_reply(R"({"format": 0.25, "reward": 0.75, "correct": true, "brief": false})", "r");
  EXPECT_EQ(r.value, 0.75);
  EXPECT_TRUE(r.correct);
  EXPECT_EQ(r.components, (std::vector<std::pair<std::string, double>>{{"format", 0.25}, {"brief", 0.0}}));
  EXPECT_TRUE(parse_reply(R"({"reward": 1})", "r").correct);
  EXPECT_FALSE(parse_reply(R"({"reward": 1, "correct": false})", "r").correct);
}

TEST(RewardReply, AnythingElseIsAnErrorThatSaysWhatIsExpected) {
  for (const char* bad :
       {"", "ok", "NaN", "Infinity", "1e999", "1 2", "null", "[1]", "\"1\"", "{}", "{\"correct\": true}",
        "{\"reward\": \"1\"}", "{\"reward\": 1, \"correct\": 1}", "{\"reward\": 1, \"why\": \"x\"}",
        "{\"reward\": [1]}", "{\"reward\": 1, \"x\": {\"y\": [1]}}", "{\"reward\": 1", "\xff"}) {
    EXPECT_THAT([&] { parse_reply(bad, "./r.py"); },
                ThrowsMessage<Error>(AllOf(HasSubstr("reward program ./r.py: it wrote \""),
                                           HasSubstr("one line with a number, or with {\"reward\": number"))))
        << bad;
  }
  EXPECT_THROW(parse_reply(std::string(1 << 20, '['), "r"), Error);
}

TEST(RewardProgram, ExamplePythonProgramJudges) {
  RewardProgram program({.program = GRADUS_SOURCE_DIR "/examples/rewards/reward.py"});
  const Problem p = problem("1+1", "2");
  const std::vector<Judged> samples = {{&p, "1+1=2"}, {&p, "=3"}, {&p, ""}};
  for (int batch = 0; batch < 2; ++batch) {  // one process serves many batches
    const auto rewards = program.judge(samples);
    ASSERT_EQ(rewards.size(), 3u);
    EXPECT_EQ(rewards[0].value, 1.0);
    EXPECT_TRUE(rewards[0].correct);
    EXPECT_EQ(rewards[0].components.front(), std::pair(std::string("characters"), 5.0));
    EXPECT_FALSE(rewards[1].correct);
    EXPECT_FALSE(rewards[2].correct);
  }
  EXPECT_TRUE(program.judge({}).empty());
}

TEST(RewardProgram, ManySamplesComeBackInOrder) {
  const Script script("n=0\nwhile read -r line; do echo $n; n=$((n+1)); done\n");
  RewardProgram program({.program = script.path()});
  const Problem p = problem(std::string(1000, 'x'), "2");
  const std::vector<Judged> samples(2000, Judged{&p, "=2"});
  const auto rewards = program.judge(samples);
  for (size_t i = 0; i < rewards.size(); ++i) ASSERT_EQ(rewards[i].value, static_cast<double>(i));
}

TEST(RewardProgram, SaysWhatIsWrongWithTheFile) {
  EXPECT_THAT([] { RewardProgram({.program = "/no/such/reward.py"}); },
              ThrowsMessage<Error>(HasSubstr("/no/such/reward.py: no such program")));
  const Script script("echo 1\n", /*executable=*/false);
  EXPECT_THAT([&] { RewardProgram({.program = script.path()}); },
              ThrowsMessage<Error>(HasSubstr("not executable; run chmod +x")));
  EXPECT_THROW(RewardProgram({.program = ""}), Error);
  EXPECT_THROW(RewardProgram({.program = script.path(), .batch_timeout = std::chrono::milliseconds(0)}), Error);
}

TEST(RewardProgram, BadReplyIsFinal) {
  const Script script("while read -r line; do echo maybe; done\n");
  RewardProgram program({.program = script.path()});
  EXPECT_EQ(code_of(program), ErrorCode::corrupt);
  EXPECT_EQ(code_of(program), ErrorCode::peer_lost);
}

TEST(RewardProgram, DeadProgramIsOneError) {
  const Script script("read -r line\necho broken on purpose >&2\nexit 3\n");
  RewardProgram program({.program = script.path()});
  EXPECT_EQ(code_of(program), ErrorCode::peer_lost);
  EXPECT_EQ(code_of(program), ErrorCode::peer_lost);
}

TEST(RewardProgram, SilentProgramPassesItsDeadline) {
  const Script script("while read -r line; do :; done\n");
  RewardProgram program({.program = script.path(), .batch_timeout = std::chrono::milliseconds(20)});
  EXPECT_EQ(code_of(program), ErrorCode::timeout);
  EXPECT_EQ(code_of(program), ErrorCode::peer_lost);
}

TEST(ProgramJudgedTask, KeepsTheTaskAndReplacesItsVerdict) {
  const Script script("while read -r line; do echo 0.5; done\n");
  const auto chain = std::make_shared<Chain>();
  const ProgramJudgedTask task(chain, {.program = script.path()});
  Rng rng(1, Purpose::test);
  const Problem p = task.make(rng, 3);
  EXPECT_EQ(task.judge(p, "=" + p.answer).value, 0.5);
  EXPECT_EQ(task.judge_all({}).size(), 0u);
  EXPECT_EQ(task.prompt(p), chain->prompt(p));
  EXPECT_EQ(task.name(), "chain");
  EXPECT_EQ(task.difficulties(), chain->difficulties());
  EXPECT_EQ(task.alphabet(), chain->alphabet());
  EXPECT_EQ(task.style(">1=1"), "long");
  EXPECT_EQ(task.is_held_out(p), chain->is_held_out(p));
}

}  // namespace
}  // namespace gradus::posttrain
