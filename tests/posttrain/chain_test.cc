#include "gradus/posttrain/tasks/chain.h"

#include <gtest/gtest.h>

#include <cmath>

#include "gradus/core/error.h"

namespace gradus::posttrain {
namespace {

// Independent of chain.cc: a recursive evaluator on integers, reduced only at the end (floored modulo).
long value(std::string_view expression) {
  if (expression.size() == 1) return expression[0] - '0';
  const long left = value(expression.substr(0, expression.size() - 2));
  const long right = expression.back() - '0';
  switch (expression[expression.size() - 2]) {
    case '+':
      return left + right;
    case '-':
      return left - right;
    default:
      return left * right;
  }
}
std::string result(std::string_view expression) {
  return std::to_string(((value(expression) % 7) + 7) % 7);
}

template <class Body>
void for_each_expression(int n_operators, const Body& body, std::string text = "") {
  if (text.empty()) {
    for (char d = '1'; d <= '6'; ++d) for_each_expression(n_operators, body, std::string(1, d));
  } else if (n_operators == 0) {
    body(text);
  } else {
    for (const char operation : {'+', '-', '*'}) {
      for (char d = '1'; d <= '6'; ++d) for_each_expression(n_operators - 1, body, text + operation + d);
    }
  }
}

Problem problem(const std::string& text) {
  Problem p;
  p.text = text;
  p.answer = result(text);
  return p;
}

TEST(Chain, AnswersEqualAnIndependentEvaluatorOnAllSmallExpressions) {
  const Chain task;
  for (int n = 1; n <= 3; ++n) {
    for_each_expression(n, [&](const std::string& text) {
      ASSERT_EQ(chain_short_answer(text), "=" + result(text)) << text;
      const std::string answer = chain_long_answer(text);
      ASSERT_EQ(answer.substr(answer.find('=')), "=" + result(text)) << text;
      ASSERT_TRUE(task.judge(problem(text), answer).correct) << text;
    });
  }
}

TEST(Chain, EachStepOfALongAnswerHasTheSameValue) {
  for_each_expression(2, [](const std::string& text) {
    std::string rest = chain_long_answer(text).substr(1);
    rest = rest.substr(0, rest.find('='));
    while (!rest.empty()) {
      const std::string step = rest.substr(0, rest.find('|'));
      ASSERT_EQ(result(step), result(text)) << text;
      rest = step.size() == rest.size() ? "" : rest.substr(step.size() + 1);
    }
  });
}

TEST(Chain, ZeroHasAProbabilityOf1MinusTwoNinthsToTheNOver7) {
  for (int n = 1; n <= 3; ++n) {
    std::vector<int> count(7);
    int total = 0;
    for_each_expression(n, [&](const std::string& text) {
      ++count[static_cast<size_t>(chain_short_answer(text)[1] - '0')];
      ++total;
    });
    const double zero = (1.0 - std::pow(2.0 / 9.0, n)) / 7.0;
    EXPECT_NEAR(count[0], zero * total, 1e-6 * total) << n;
    for (size_t r = 1; r < 7; ++r) EXPECT_NEAR(count[r], (1.0 - zero) / 6.0 * total, 1e-6 * total) << n << " " << r;
  }
}

TEST(Chain, LongAnswerIsTheOneOfTheIssue) {
  EXPECT_EQ(chain_long_answer("6+5*3-4"), ">4*3-4|5-4|1=1");
  EXPECT_EQ(chain_short_answer("6+5*3-4"), "=1");
  EXPECT_EQ(Chain().prompt(problem("6+5*3-4")), "6+5*3-4#");
}

TEST(Chain, LongAnswerOfNOperatorsHasNSquaredPlusNPlus2Characters) {
  const Chain task;
  for (int n = 1; n <= 12; ++n) {
    Rng rng(1, Purpose::test, static_cast<uint64_t>(n));
    EXPECT_EQ(chain_long_answer(task.make(rng, n).text).size(), static_cast<size_t>(n * n + n + 2));
  }
}

TEST(Chain, SubtractionWraps) {
  EXPECT_EQ(chain_short_answer("1-6"), "=2");
}

TEST(Chain, ProblemsAreWellFormedAndUseOnlyTheAlphabet) {
  const Chain task;
  for (uint64_t i = 0; i < 300; ++i) {
    Rng rng(2, Purpose::data, i);
    const int n = 3 + static_cast<int>(i % 6);
    const Problem p = task.make(rng, n);
    EXPECT_EQ(p.difficulty, n);
    EXPECT_EQ(p.text.size(), static_cast<size_t>(2 * n + 1));
    EXPECT_EQ(p.answer, result(p.text));
    const std::string all = task.prompt(p) + task.demonstration(p, rng);
    EXPECT_EQ(all.find_first_not_of(task.alphabet()), std::string::npos) << all;
  }
}

TEST(Chain, SameStreamGivesTheSameProblem) {
  const Chain task;
  Rng a(5, Purpose::data, 17), b(5, Purpose::data, 17), c(5, Purpose::data, 18);
  const std::string text = task.make(a, 6).text;
  EXPECT_EQ(task.make(b, 6).text, text);
  EXPECT_NE(task.make(c, 6).text, text);
}

TEST(Chain, LongShareIsTheShareOfLongDemonstrations) {
  const Problem p = problem("1+2*3");
  for (const double share : {0.0, 0.3, 1.0}) {
    const Chain task({.long_share = share});
    int n_long = 0;
    for (uint64_t i = 0; i < 2000; ++i) {
      Rng rng(1, Purpose::test, i);
      const std::string answer = task.demonstration(p, rng);
      ASSERT_TRUE(task.judge(p, answer).correct);
      n_long += task.style(answer) == "long";
    }
    EXPECT_NEAR(n_long, share * 2000, 85);  // 4 standard deviations at 0.3
  }
}

TEST(Chain, JudgesTheFinalAnswerAloneAndStrictly) {
  const Chain task;
  const Problem p = problem("6+5*3-4");  // 1
  for (const char* right : {"=1", ">4*3-4|5-4|1=1", ">9|||=1", ">=1"})
    EXPECT_TRUE(task.judge(p, right).correct) << right;
  for (const char* wrong :
       {"", "1", "=", "=2", "=11", "=1=1", "==1", "=1|", "= 1", "=1$", ">4*3-4|5-4|1", "=2=1", "=8"}) {
    EXPECT_FALSE(task.judge(p, wrong).correct) << wrong;
    EXPECT_EQ(task.judge(p, wrong).value, 0.0) << wrong;
  }
}

TEST(Chain, StyleIsReadOffTheFirstCharacter) {
  EXPECT_EQ(Chain().style(">1=1"), "long");
  EXPECT_EQ(Chain().style("=1"), "short");
  EXPECT_EQ(Chain().style(""), "short");
}

TEST(Chain, RefusesBadConfigurations) {
  EXPECT_THROW(Chain({.min_operators = 0}), Error);
  EXPECT_THROW(Chain({.min_operators = 5, .max_operators = 4}), Error);
  EXPECT_THROW(Chain({.max_operators = 13}), Error);
  EXPECT_THROW(Chain({.long_share = 1.5}), Error);
  EXPECT_THROW(Chain({.long_share = std::nan("")}), Error);
  Rng rng(1, Purpose::test);
  EXPECT_THROW(Chain().make(rng, 0), Error);
  EXPECT_THROW(Chain().make(rng, 13), Error);
}

}  // namespace
}  // namespace gradus::posttrain
