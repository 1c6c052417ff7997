#include "gradus/lm/draft_chances.h"

#include <algorithm>
#include <cmath>

namespace gradus::lm {

size_t DraftChances::bin_of(double p) {
  const double q = std::clamp(p, 1e-6, 1 - 1e-6);
  const double odds = std::log(q / (1 - q));
  return static_cast<size_t>(std::clamp(std::floor(odds * 2) + kBins / 2, 0.0, kBins - 1.0));
}

}  // namespace gradus::lm
