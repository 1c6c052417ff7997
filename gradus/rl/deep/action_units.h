// Actions in units that networks and noise can share.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "gradus/core/rng.h"
#include "gradus/env/space.h"

namespace gradus::rl {

// Of a Box with bounds low and high, which need not lie around 0: -1 is low and 1 is high, whatever these are. A number
// of a Discrete space is itself.
class ActionUnits {
 public:
  // Throws invalid_argument on a bound that is not finite.
  explicit ActionUnits(const env::Space& actions);

  // a = (high + low) / 2 + u (high - low) / 2, of rows of actions; they may be the same.
  void to_space(std::span<const float> u, std::span<float> a) const;
  // All equally likely.
  void draw(Rng& rng, std::span<float> u) const;

 private:
  int64_t n_ = 0;                      // of a Discrete space
  std::vector<double> middle_, half_;  // of a Box
};

}  // namespace gradus::rl
