// JSON text to values and back. Reading is safe where the text may be hostile: nlohmann's parser alone takes the last
// of two equal keys without a word and has no limit on nesting. Parser and writer are compiled here once, not in every
// user.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace gradus {

// Parses one whole JSON text (UTF-8, nothing after it). `origin` names the source in errors. Throws corrupt, with line
// and column, when the text is not JSON, a key is there twice in one object, or values are nested deeper than
// `max_depth`.
nlohmann::json parse_json(std::string_view text, std::string_view origin, int max_depth = 64);

// The same, but a discarded value (`is_discarded`) for a text that throws there.
nlohmann::json try_parse_json(std::string_view text);

// The value as text. Bytes that are not UTF-8, which JSON cannot hold, become U+FFFD.
//   indent   blanks per level, or -1 for one line
std::string write_json(const nlohmann::json& value, int indent = -1);
std::string write_json(const nlohmann::ordered_json& value, int indent = -1);

// The text in double quotes for an error message: ASCII, escaped, cut after 64 bytes, whatever it holds.
std::string quote_text(std::string_view text);

}  // namespace gradus
