// The two ways the library fails. `Error` is for everything the caller cannot rule out: files, peers, configuration,
// requests, sizes, divergence. `InternalError` is a broken invariant of our own; user input never reaches one.
// Nothing in the library prints or exits.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace gradus {

enum class ErrorCode {
  invalid_argument,
  not_found,
  corrupt,
  io,
  timeout,
  peer_lost,
  exhausted,
  unsupported,
  diverged,
  interrupted,  // the user asked us to stop; state was saved
};

std::string_view name(ErrorCode code);

// Message = operation: fact with both values; next step. "softmax: y is [4, 8] but x is [4, 16]".
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

// Throws Error{code, formatted message}.
template <class... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

// Throws Error{invalid_argument} unless `ok`. For arguments that a caller may get wrong.
template <class... Args>
void require(bool ok, fmt::format_string<Args...> format, Args&&... args) {
  if (!ok) [[unlikely]]
    fail(ErrorCode::invalid_argument, format, std::forward<Args>(args)...);
}

namespace detail {
[[noreturn]] void check_failed(const char* condition, const char* file, int line);
}  // namespace detail

}  // namespace gradus

// Our own invariant; throws gradus::InternalError in every build type.
#define GRADUS_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::gradus::detail::check_failed(#condition, __FILE__, __LINE__))
