// Reading JSON that may be hostile: what the file readers use instead of nlohmann's parser alone, which takes the last
// of two equal keys without a word and has no limit on nesting.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace gradus {

// Parses one whole JSON text (UTF-8, nothing after it). `origin` names the source in errors. Throws corrupt, with line
// and column, when the text is not JSON, a key is there twice in one object, or values are nested deeper than
// `max_depth`.
nlohmann::json parse_json(std::string_view text, std::string_view origin, int max_depth = 64);

// The text in double quotes for an error message: ASCII, escaped, cut after 64 bytes, whatever it holds.
std::string quote_text(std::string_view text);

}  // namespace gradus
