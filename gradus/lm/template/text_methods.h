// What Python's str does, on texts that know where they came from.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "gradus/lm/template/value.h"

namespace gradus::lm::jinja {

Text upper(const Text& text);
Text lower(const Text& text);
Text title(const Text& text);
Text capitalize(const Text& text);

// Without the characters of `characters` at its ends, without white space when that is empty.
Text strip(const Text& text, std::string_view characters, bool left, bool right);

std::vector<Text> lines_of(const Text& text);  // str.splitlines()

// str.split(): at white space, or at `separator`. most: cuts, or -1 for all.
List split_words(Interpreter& interpreter, const Text& text, int64_t most = -1);
List split_at(Interpreter& interpreter, const Text& text, std::string_view separator, int64_t most, bool from_right);

Text replace(Interpreter& interpreter, const Text& text, const Text& old, const Text& with, int64_t most);

}  // namespace gradus::lm::jinja
