// The pictures of a classic RL run, from its database.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

namespace gradus::rl {

// curves.svg in a run folder: return and episode length, means over seeds with a band of one standard error. Returns
// what was written. Throws what reading and writing throw.
std::vector<std::filesystem::path> write_curves(const std::filesystem::path& directory, std::string_view title);

}  // namespace gradus::rl
