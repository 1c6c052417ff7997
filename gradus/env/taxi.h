// A taxi fetches a passenger and brings him to a hotel. Dietterich 2000, section 2; Gymnasium's Taxi-v3.
#pragma once

#include <memory>

#include "gradus/env/finite_mdp.h"

namespace gradus::env {

// 500 states, ((row * 5 + column) * 5 + passenger) * 4 + destination, passenger 4 in the taxi; actions south, north,
// east, west, pickup, dropoff. Each action pays -1, one that cannot be done -10, the right dropoff 20, and ends. An
// episode starts with passenger and destination at different places, the taxi anywhere: 300 states.
std::shared_ptr<const FiniteMdp> taxi();

}  // namespace gradus::env
