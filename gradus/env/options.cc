#include "gradus/env/options.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "gradus/core/error.h"

namespace gradus::env {

namespace {

std::string names_of(std::initializer_list<NamedNumber> known) {
  std::vector<std::string_view> names;
  for (const NamedNumber& number : known) names.push_back(number.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

void take_options(std::string_view env, const Options& options, std::initializer_list<NamedNumber> known) {
  for (const auto& [key, value] : options) {
    const auto* number = std::find_if(known.begin(), known.end(), [&](const NamedNumber& n) { return n.name == key; });
    if (number == known.end()) {
      fail(ErrorCode::invalid_argument, "{}: reset: no option '{}'; known: {}", env, key, names_of(known));
    }
    require(std::isfinite(value), "{}: reset: option '{}' is {}, but must be finite", env, key, value);
    *number->value = value;
  }
}

}  // namespace gradus::env
