// Weights whose masters ranks share out (GradientExchangeConfig::cut_masters), put together for checkpoints.
#pragma once

#include <span>
#include <vector>

#include "gradus/autograd/tape.h"
#include "gradus/run/ranks.h"

namespace gradus::run {

// Parameter::weights of each; they share their elements with the parameter where it has them all. Those that are cut
// are put together on the first rank, and undefined on the others, one at a time: no other rank needs room for all of
// them. Collective, with the same parameters on all ranks; `ranks` may be null.
std::vector<Tensor> whole_weights(std::span<autograd::Parameter* const> parameters, Ranks* ranks);

}  // namespace gradus::run
