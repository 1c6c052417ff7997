// What a call throws, for EXPECT_THAT(error_of(...), ...).
#pragma once

#include <gmock/gmock.h>

#include <optional>
#include <string>

#include "gradus/core/error.h"

namespace gradus::run {

struct Thrown {
  std::optional<ErrorCode> code;  // empty: nothing was thrown
  std::string message;
};

template <class Call>
Thrown error_of(Call call) {
  try {
    call();
  } catch (const Error& e) {
    return {e.code(), e.what()};
  }
  return {};
}

inline void PrintTo(const Thrown& t, std::ostream* out) {
  *out << (t.code ? std::string(name(*t.code)) : "nothing") << ": " << t.message;
}

MATCHER_P2(Throws, code, part, "throws " + std::string(name(code)) + " with \"" + std::string(part) + "\"") {
  return arg.code == code && arg.message.find(part) != std::string::npos;
}

}  // namespace gradus::run
