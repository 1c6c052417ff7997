// What settings may be. Each throws invalid_argument, naming key and value; NaN passes none.
#pragma once

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "gradus/core/error.h"

namespace gradus::rl {

inline void check_share(std::string_view key, double value) {
  require(value >= 0 && value <= 1, "{} is {}, but must lie in [0, 1]", key, value);
}
inline void check_positive(std::string_view key, double value) {
  require(value > 0 && std::isfinite(value), "{} is {}, but must be positive", key, value);
}
inline void check_not_negative(std::string_view key, double value) {
  require(value >= 0 && std::isfinite(value), "{} is {}, but must not be negative", key, value);
}
inline void check_at_least(std::string_view key, int64_t value, int64_t least) {
  require(value >= least, "{} is {}, but must be at least {}", key, value, least);
}
inline void check_choice(std::string_view key, std::string_view value, std::initializer_list<std::string_view> known) {
  if (std::ranges::find(known, value) != known.end()) return;
  fail(ErrorCode::invalid_argument, "{} is '{}', but must be one of {}", key, value, fmt::join(known, ", "));
}

}  // namespace gradus::rl
