// Which difficulty the next problem has: uniform over a range that widens step by step, or weighted towards what the
// model cannot do yet. Deterministic: the caller brings the random numbers and reports results in a fixed order.
#pragma once

#include <span>
#include <vector>

#include "gradus/core/rng.h"

namespace gradus::posttrain {

inline constexpr int kMaxDifficulty = 1000;  // of any task

struct CurriculumConfig {
  int least = 1;  // difficulties, both ends included
  int greatest = 1;
  int first_greatest = 0;    // the range starts as [least, first_greatest]; 0 means `greatest`: no widening
  double widened_at = 0.5;   // share of the training, 0..1, at which the range has reached `greatest`
  bool prioritised = false;  // draw difficulty d with a weight of 1 - s_d, s_d = its success rate so far
  double memory = 0.9;       // s_d <- memory s_d + (1 - memory) outcome; in [0, 1)
};

// Prioritised sampling: arXiv 2501.12599, section 2.3.4. Differs: success is tracked per difficulty, since generated
// problems do not return, and a weight is at least 0.05, so that what is mastered is still seen.
class Curriculum {
 public:
  explicit Curriculum(CurriculumConfig config);  // throws invalid_argument unless the ranges above hold

  // The greatest difficulty in use at `progress` (share of the training done; clamped to 0..1). Steps of equal length.
  int greatest_at(double progress) const;

  // A difficulty of [least, greatest_at(progress)].
  int draw(Rng& rng, double progress) const;

  // The share of right answers to one problem, or to a group of answers; in 0..1. Difficulties outside the range are
  // ignored.
  void record(int difficulty, double success);

  double success_rate(int difficulty) const;  // s_d; 0 before the first result

  // Everything that `record` changed, one number per difficulty: s_d, or -1 before the first result.
  std::vector<double> state() const { return success_; }
  void restore(std::span<const double> state);  // throws corrupt when it is not a state of this range

 private:
  double weight(int difficulty) const;

  CurriculumConfig config_;
  std::vector<double> success_;
};

}  // namespace gradus::posttrain
