#include "gradus/posttrain/tasks/chain.h"

#include <algorithm>

#include "gradus/core/error.h"

namespace gradus::posttrain {
namespace {

constexpr int kMaxOperators = 12;
constexpr int kModulus = 7;
constexpr std::string_view kOperators = "+-*";

char digit(int value) {
  return static_cast<char>('0' + value);
}

int apply(int a, char operation, int b) {
  switch (operation) {
    case '+':
      return (a + b) % kModulus;
    case '-':
      return (a - b + kModulus) % kModulus;
    default:
      return a * b % kModulus;
  }
}

// "6+5*3-4" -> "4*3-4": the first two operands become one digit.
std::string reduce(std::string_view expression) {
  GRADUS_CHECK(expression.size() >= 3);
  std::string rest(1, digit(apply(expression[0] - '0', expression[1], expression[2] - '0')));
  return rest.append(expression.substr(3));
}

}  // namespace

std::string chain_long_answer(std::string_view expression) {
  std::string answer;
  std::string rest(expression);
  while (rest.size() > 1) {
    rest = reduce(rest);
    answer += answer.empty() ? '>' : '|';
    answer += rest;
  }
  return answer + '=' + rest;
}

std::string chain_short_answer(std::string_view expression) {
  int value = expression[0] - '0';
  for (size_t i = 1; i + 1 < expression.size(); i += 2) value = apply(value, expression[i], expression[i + 1] - '0');
  return {'=', digit(value)};
}

Chain::Chain(ChainConfig config) : config_(config) {
  require(1 <= config.min_operators && config.min_operators <= config.max_operators &&
              config.max_operators <= kMaxOperators,
          "chain: operators {}..{} are out of range; choose 1 <= min_operators <= max_operators <= {}",
          config.min_operators, config.max_operators, kMaxOperators);
  require(config.long_share >= 0.0 && config.long_share <= 1.0, "chain: long_share is {}; choose a share from 0 to 1",
          config.long_share);
}

Problem Chain::make(Rng& rng, int difficulty) const {
  require(1 <= difficulty && difficulty <= kMaxOperators,
          "chain: difficulty is {}; it is the number of operators, 1..{}", difficulty, kMaxOperators);
  Problem p;
  p.difficulty = difficulty;
  p.text += digit(1 + static_cast<int>(rng.below(6)));
  for (int i = 0; i < difficulty; ++i) {
    p.text += kOperators[static_cast<size_t>(rng.below(3))];
    p.text += digit(1 + static_cast<int>(rng.below(6)));
  }
  p.answer = chain_short_answer(p.text).substr(1);
  return p;
}

std::string Chain::prompt(const Problem& p) const {
  return p.text + '#';
}

std::string Chain::demonstration(const Problem& p, Rng& rng) const {
  return rng.uniform() < config_.long_share ? chain_long_answer(p.text) : chain_short_answer(p.text);
}

Reward Chain::judge(const Problem& p, std::string_view answer) const {
  const size_t mark = answer.find('=');
  const bool correct = mark != std::string_view::npos && answer.substr(mark + 1) == p.answer;
  return {.value = correct ? 1.0 : 0.0, .correct = correct, .components = {}};
}

std::string Chain::style(std::string_view answer) const {
  return answer.starts_with('>') ? "long" : "short";
}

}  // namespace gradus::posttrain
