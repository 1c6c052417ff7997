// The pictures of a classic RL run, from its database.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

namespace gradus::rl {

// In a run folder: curves.svg with return and episode length, means over seeds with a band of one standard error, and
// errors.svg with what falls as it learns. Returns what was written. Throws what reading and writing throw.
//   counted_in  "episode" or "step"
std::vector<std::filesystem::path> write_curves(const std::filesystem::path& directory, std::string_view title,
                                                std::string_view counted_in);

}  // namespace gradus::rl
