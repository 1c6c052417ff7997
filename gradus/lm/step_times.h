// What decoding steps take, learnt while they are taken: drafts cost more than their rows, since their keys are moved
// and their texts draw one token after another, and machines are not always as fast as when they were measured.
#pragma once

#include <cstdint>

#include "gradus/lm/tree_planner.h"

namespace gradus::lm {

// What was said beforehand, times e^scale, and for steps with drafts times e^extra: both followed by a Kalman filter
// over the logarithms of what steps took to what was said (Kalman 1960). Where only steps of one kind are seen, a
// change is held to be one of the scale.
class StepTimes {
 public:
  explicit StepTimes(StepCost said) : said_(std::move(said)) {}

  // Of a step of `rows`, drafts among them or not.
  double ms(int64_t rows, bool with_drafts) const { return said_(rows) * (with_drafts ? drafted_ : plain_); }
  void observe(int64_t rows, bool with_drafts, double ms);

 private:
  StepCost said_;
  double plain_ = 1, drafted_ = 1;  // what was said is multiplied by these
  bool drafted_before_ = false;
  double scale_ = 0, extra_ = 0;
  double var_scale_ = 0.04, cov_ = 0, var_extra_ = 0.04;  // how far off they may be, squared
};

}  // namespace gradus::lm
