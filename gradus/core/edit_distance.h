// How far apart two words are, for errors that name the nearest known one.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace gradus {

// Levenshtein: the least number of single-character insertions, deletions and replacements that turn `a` into `b`.
// Cost: |a| |b| steps.
std::size_t edit_distance(std::string_view a, std::string_view b);

// The known name with the least edit distance to `word`, the first of equals; `known` must not be empty.
std::string_view nearest_name(std::string_view word, std::span<const std::string_view> known);

}  // namespace gradus
