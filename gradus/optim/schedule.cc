#include "gradus/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace gradus::optim {

double warmup_constant(int64_t step, int64_t warmup) {
  return step >= warmup ? 1.0 : static_cast<double>(step + 1) / static_cast<double>(warmup + 1);
}

double warmup_cosine(int64_t step, int64_t warmup, int64_t total, double floor) {
  if (step < warmup) return warmup_constant(step, warmup);
  const double progress =
      static_cast<double>(step - warmup) / static_cast<double>(std::max<int64_t>(1, total - warmup));
  return floor + (1.0 - floor) * 0.5 * (1.0 + std::cos(std::numbers::pi * std::min(1.0, progress)));
}

}  // namespace gradus::optim
