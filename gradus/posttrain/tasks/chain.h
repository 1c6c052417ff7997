// The task `chain`: evaluate digits 1..6 joined by + - * strictly from left to right, modulo 7 (so 6+5*3 is (6+5)*3).
// One step is easy; the whole at once is hard, so that a model has to find that thinking pays.
//   prompt  6+5*3-4#        long answer  >4*3-4|5-4|1=1        short answer  =1
// The long answer rewrites the rest after each step: n operators make n^2 + n + 2 characters.
#pragma once

#include "gradus/posttrain/task.h"

namespace gradus::posttrain {

struct ChainConfig {
  int min_operators = 3;  // the difficulty of a problem is its number of operators
  int max_operators = 8;  // 1 <= min <= max <= 12
  double long_share =
      0.6;  // probability that a demonstration is a long one, 0..1: it dials the accuracy after the warm-up
};

class Chain final : public Task {
 public:
  explicit Chain(ChainConfig config = {});  // throws invalid_argument outside the ranges above

  std::string name() const override { return "chain"; }
  std::pair<int, int> difficulties() const override { return {config_.min_operators, config_.max_operators}; }
  std::string alphabet() const override { return "0123456+-*#>|="; }

  // Digits and operators uniform and independent. After n operators the result is 0 with probability
  // 1/7 - (2/9)^n / 7, and 1..6 are equally likely: a blind guess is right one time in seven.
  Problem make(Rng& rng, int difficulty) const override;  // throws invalid_argument outside 1..12
  std::string prompt(const Problem& p) const override;
  std::string demonstration(const Problem& p, Rng& rng) const override;

  // Right if there is exactly one "=", and after it nothing but the result. The steps before it do not count: only the
  // final answer's verdict is used (arXiv 2501.12599, section 2.3.2).
  Reward judge(const Problem& p, std::string_view answer) const override;
  std::string style(std::string_view answer) const override;  // "long" if it starts with '>', else "short"

 private:
  ChainConfig config_;
};

// The two styles of demonstration for an expression such as "6+5*3-4" (well-formed, a precondition).
std::string chain_long_answer(std::string_view expression);
std::string chain_short_answer(std::string_view expression);

}  // namespace gradus::posttrain
