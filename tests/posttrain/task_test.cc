#include "gradus/posttrain/task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "gradus/core/error.h"
#include "gradus/posttrain/tasks/chain.h"

namespace gradus::posttrain {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

// Outside of its namespace a task needs no qualified names: DESIGN.md, section 7.
struct Parity : Task {
  Problem make(Rng& rng, int difficulty) const override {
    Problem p;
    p.difficulty = difficulty;
    int ones = 0;
    for (int i = 0; i < difficulty; ++i) {
      const auto bit = static_cast<int>(rng.below(2));
      p.text += static_cast<char>('0' + bit);
      ones += bit;
    }
    p.answer = ones % 2 ? "1" : "0";
    return p;
  }
  std::string prompt(const Problem& p) const override { return p.text + "#"; }
  Reward judge(const Problem& p, std::string_view answer) const override {
    const bool correct = answer == "=" + p.answer;
    return {correct ? 1.0 : 0.0, correct, {}};
  }
};

struct Unteachable : Parity {
  bool has_demonstrations() const override { return false; }
};

struct AllHeldOut : Parity {
  bool is_held_out(const Problem&) const override { return true; }
};

struct NoneHeldOut : Parity {
  bool is_held_out(const Problem&) const override { return false; }
};

TEST(ProblemHash, IsAFixedFunctionOfTheTextAlone) {
  Problem p;
  p.text = "1+1";
  Problem q = p;
  q.answer = "2";
  q.difficulty = 5;
  EXPECT_EQ(p.hash(), q.hash());
  EXPECT_EQ(p.hash(), 0xb169055afc8a9e60u);  // runs on disk rely on this value
}

TEST(ProblemHash, HoldsOutOneInSixteen) {
  const Chain task;
  int held_out = 0;
  for (uint64_t i = 0; i < 16000; ++i) {
    Rng rng(1, Purpose::test, i);
    held_out += task.is_held_out(task.make(rng, 8));
  }
  EXPECT_NEAR(held_out, 1000, 120);  // 4 standard deviations
}

TEST(Task, DefaultsSufficeForAMinimalTask) {
  const Parity task;
  Rng rng(1, Purpose::test);
  const Problem p = task.make(rng, 4);
  EXPECT_EQ(task.demonstration(p, rng), "=" + p.answer);
  EXPECT_TRUE(task.judge(p, task.demonstration(p, rng)).correct);
  EXPECT_EQ(task.alphabet(), "#01=");
  EXPECT_EQ(task.style("=1"), "");
  EXPECT_EQ(task.difficulties(), std::pair(1, 1));
}

TEST(Task, DemonstrationOfTheProblemComesFirst) {
  const Parity task;
  Rng rng(1, Purpose::test);
  Problem p;
  p.answer = "1";
  p.demonstration = "so =1";
  EXPECT_EQ(task.demonstration(p, rng), "so =1");
}

TEST(Task, JudgeAllKeepsTheOrder) {
  const Parity task;
  Problem zero, one;
  zero.answer = "0";
  one.answer = "1";
  const std::vector<Judged> samples = {{&zero, "=0"}, {&zero, "=1"}, {&one, "=1"}, {&one, ""}};
  const auto rewards = task.judge_all(samples);
  ASSERT_EQ(rewards.size(), 4u);
  EXPECT_TRUE(rewards[0].correct);
  EXPECT_FALSE(rewards[1].correct);
  EXPECT_TRUE(rewards[2].correct);
  EXPECT_FALSE(rewards[3].correct);
}

TEST(HeldOutSet, IsDisjointFromTrainingProblems) {
  const Chain task({.min_operators = 3, .max_operators = 4});
  std::set<std::string> held_out;
  for (const Problem& p : held_out_set(task, {.n = 512, .least_difficulty = 3, .greatest_difficulty = 4, .seed = 7})) {
    held_out.insert(p.text);
  }
  EXPECT_EQ(held_out.size(), 512u);  // no duplicates
  for (uint64_t i = 0; i < 20000; ++i) {
    Rng rng(7, Purpose::data, i);
    EXPECT_FALSE(held_out.contains(make_training_problem(task, rng, 3 + static_cast<int>(i % 2)).text));
  }
}

TEST(HeldOutSet, TakesDifficultiesInTurn) {
  const Chain task;
  std::vector<int> count(13);
  for (const Problem& p : held_out_set(task, {.n = 60, .least_difficulty = 3, .greatest_difficulty = 8})) {
    ++count[static_cast<size_t>(p.difficulty)];
  }
  for (size_t d = 3; d <= 8; ++d) EXPECT_NEAR(count[d], 10, 1) << d;
}

TEST(HeldOutSet, SmallerSetIsAPrefixAndTheSeedDecides) {
  const Chain task;
  const auto texts = [&](int n, uint64_t seed) {
    std::vector<std::string> all;
    for (const Problem& p : held_out_set(task, {n, 3, 8, seed})) all.push_back(p.text);
    return all;
  };
  auto more = texts(64, 1);
  more.resize(20);
  EXPECT_EQ(texts(20, 1), more);
  EXPECT_NE(texts(20, 2), more);
}

TEST(HeldOutSet, GivesAllOfASmallTask) {
  const Chain task({.min_operators = 1, .max_operators = 1});
  std::set<std::string> expected;
  for (uint64_t i = 0; i < 5000; ++i) {
    Rng rng(3, Purpose::test, i);
    const Problem p = task.make(rng, 1);
    if (task.is_held_out(p)) expected.insert(p.text);
  }
  std::set<std::string> found;
  for (const Problem& p : held_out_set(task, {.n = 512, .least_difficulty = 1, .greatest_difficulty = 1})) {
    found.insert(p.text);
  }
  EXPECT_EQ(found, expected);
  EXPECT_LT(found.size(), 108u);
}

TEST(HeldOutSet, SaysWhenThereIsNone) {
  EXPECT_THAT([] { held_out_set(NoneHeldOut(), {.n = 8}); },
              ThrowsMessage<Error>(HasSubstr("task: no held-out problem of difficulty 1..1; widen the range")));
  EXPECT_THROW(held_out_set(Parity(), {.n = 0}), Error);
  EXPECT_THROW(held_out_set(Parity(), {.n = 1, .least_difficulty = 2, .greatest_difficulty = 1}), Error);
}

TEST(TrainingProblem, SaysWhenAllAreHeldOut) {
  Rng rng(1, Purpose::data);
  EXPECT_THAT([&] { make_training_problem(AllHeldOut(), rng, 3); },
              ThrowsMessage<Error>(HasSubstr("no training problem in 1024 draws of difficulty 3")));
}

TEST(CheckCanStart, NeedsDemonstrationsOrAModel) {
  check_can_start(Parity(), false);
  check_can_start(Unteachable(), true);
  EXPECT_THAT(
      [] { check_can_start(Unteachable(), false); },
      ThrowsMessage<Error>("no demonstrations and no model: the reward would stay 0; add `response` or `model=`"));
}

TEST(Characters, AreCountedAsUtf8) {
  CharacterSet characters;
  add_characters(
      "a\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80"
      "a",
      characters);
  EXPECT_EQ(characters.size(), 4u);
  EXPECT_EQ(to_alphabet(characters), "a\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80");
}

}  // namespace
}  // namespace gradus::posttrain

// The example of DESIGN.md, section 7, as a user would write it.
struct OutsideTask : gradus::posttrain::Task {
  Problem make(gradus::Rng&, int) const override { return {}; }
  std::string prompt(const Problem& p) const override { return p.text; }
  Reward judge(const Problem&, std::string_view) const override { return {}; }
};

TEST(Task, ThreeFunctionsAreEnough) {
  EXPECT_EQ(OutsideTask().name(), "task");
}
