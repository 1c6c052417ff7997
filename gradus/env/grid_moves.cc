#include "gradus/env/grid_moves.h"

#include <fmt/format.h>

namespace gradus::env {

std::string cell_name(int64_t row, int64_t column) {
  return fmt::format("({}, {})", row + 1, column + 1);
}

}  // namespace gradus::env
