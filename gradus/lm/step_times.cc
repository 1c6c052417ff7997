#include "gradus/lm/step_times.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace gradus::lm {

namespace {

// Of logarithms, squared: what a step's time varies by, and how far the two move from one step to the next.
constexpr double kNoise = 0.04, kScaleDrift = 2e-4, kExtraDrift = 4e-5;
constexpr double kForgetting = 1.0 / 512;  // of the extra, a step: what was too much once is tried again
constexpr double kFarthest = 0.25;  // a step during which the machine did something else counts as this much too long

}  // namespace

void StepTimes::observe(int64_t rows, bool with_drafts, double ms) {
  const double said = said_(rows);
  if (said <= 0 || ms <= 0) return;
  if (with_drafts && !std::exchange(drafted_before_, true)) return;  // the first one makes what is made once
  constexpr double kKept = 1 - kForgetting;
  extra_ *= kKept;
  var_scale_ += kScaleDrift, cov_ *= kKept, var_extra_ = kKept * kKept * var_extra_ + kExtraDrift;
  const double seen = std::log(ms / said), d = with_drafts ? 1 : 0;
  const double innovation = std::min(seen - scale_ - d * extra_, kFarthest);
  const double with_scale = var_scale_ + d * cov_, with_extra = cov_ + d * var_extra_;  // covariances with what is seen
  const double variance = with_scale + d * with_extra + kNoise;
  scale_ += with_scale / variance * innovation;
  extra_ += with_extra / variance * innovation;
  var_scale_ -= with_scale * with_scale / variance;
  cov_ -= with_scale * with_extra / variance;
  var_extra_ -= with_extra * with_extra / variance;
  plain_ = std::exp(scale_), drafted_ = std::exp(scale_ + extra_);
}

}  // namespace gradus::lm
