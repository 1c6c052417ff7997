// Rollouts as bytes, for the way between ranks: every bit comes back.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gradus/posttrain/rollout.h"

namespace gradus::posttrain {

std::string to_bytes(std::span<const Rollout> rollouts);

// Throws corrupt when they end too soon or go on behind the last rollout.
std::vector<Rollout> parse_rollouts(std::string_view bytes);

}  // namespace gradus::posttrain
