// Reset's options as the numbers they set.
#pragma once

#include <initializer_list>
#include <string_view>

#include "gradus/env/env.h"

namespace gradus::env {

struct NamedNumber {
  std::string_view name;
  double* value;
};

// Writes each option into the number of its name. Throws invalid_argument on a name that is not known, and on a value
// that is not finite.
//   env   the environment's name, for the message
void take_options(std::string_view env, const Options& options, std::initializer_list<NamedNumber> known);

}  // namespace gradus::env
