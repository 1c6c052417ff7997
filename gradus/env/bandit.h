// Arms of which each pays by a normal distribution of its own: the testbed of Sutton & Barto, 2nd ed., section 2.3.
#pragma once

#include <cstdint>
#include <memory>

#include "gradus/env/finite_mdp.h"

namespace gradus::env {

struct BanditConfig {
  int64_t arms = 10;
  int64_t seed = 1;
  double mean = 0;
  double deviation = 1;

  template <class F>
  void fields(F& f) {
    f("arms", arms, "actions");
    f("seed", seed, "of the arms' values, drawn from a normal distribution of variance 1");
    f("mean", mean, "of the arms' values");
    f("deviation", deviation, "of a pull's reward around its arm's value");
  }
};

// One state; a pull ends the episode. Throws invalid_argument on no arm, or a deviation below 0.
std::shared_ptr<const FiniteMdp> bandit(const BanditConfig& config);

}  // namespace gradus::env
