// How far apart two words are, for errors that name the nearest known one.
#pragma once

#include <cstddef>
#include <string_view>

namespace gradus {

// Levenshtein: the least number of single-character insertions, deletions and replacements that turn `a` into `b`.
// Cost: |a| |b| steps.
std::size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace gradus
