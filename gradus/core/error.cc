#include "gradus/core/error.h"

namespace gradus {

std::string_view name(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
      return "invalid_argument";
    case ErrorCode::not_found:
      return "not_found";
    case ErrorCode::corrupt:
      return "corrupt";
    case ErrorCode::io:
      return "io";
    case ErrorCode::timeout:
      return "timeout";
    case ErrorCode::peer_lost:
      return "peer_lost";
    case ErrorCode::exhausted:
      return "exhausted";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::diverged:
      return "diverged";
    case ErrorCode::interrupted:
      return "interrupted";
  }
  return "unknown";
}

void detail::check_failed(const char* condition, const char* file, int line) {
  throw InternalError(
      fmt::format("internal error: {} does not hold at {}:{}; please report this", condition, file, line));
}

}  // namespace gradus
