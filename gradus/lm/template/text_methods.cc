#include "gradus/lm/template/text_methods.h"

#include <utf8proc.h>

#include <algorithm>

#include "gradus/core/error.h"
#include "gradus/lm/template/builtins.h"
#include "gradus/lm/template/interpreter.h"
#include "gradus/lm/tokenizer/unicode.h"
#include "gradus/lm/tokenizer/utf8.h"

namespace gradus::lm::jinja {

namespace {

// The code point at a place, U+FFFD where there is no UTF-8.
char32_t code_point(const std::string& bytes, std::size_t at) {
  const CodePoint c = decode_utf8(std::string_view(bytes).substr(at));
  return c.n_bytes > 0 ? c.value : U'\uFFFD';
}

// Python's str.isspace has the separators of ASCII, too.
bool is_space(char32_t c) {
  return (characters()[c] & kSpace) != 0 || (c >= 0x1C && c <= 0x1F);
}

// Each character replaced by f(code point, whether a letter is before it), with its origin.
template <class F>
Text map_characters(const Text& text, const F& f) {
  Text out;
  const std::vector<std::size_t> starts = character_starts(text.bytes());
  bool behind_letter = false;
  for (std::size_t i = 0; i + 1 < starts.size(); ++i) {
    const char32_t c = code_point(text.bytes(), starts[i]);
    out.append(f(c, behind_letter), text.origin_at(starts[i]));
    behind_letter = (characters()[c] & kLetter) != 0;
  }
  return out;
}

std::string upper_of(char32_t c) {
  std::string out;
  if (c == 0xDF) return "SS";
  append_utf8(out, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))));
  return out;
}
std::string lower_of(char32_t c) {
  std::string out;
  append_lower(out, c);
  return out;
}

}  // namespace

std::vector<std::size_t> character_starts(const std::string& bytes) {
  std::vector<std::size_t> starts;
  for (std::size_t at = 0; at < bytes.size();) {
    starts.push_back(at);
    at += static_cast<std::size_t>(std::max(decode_utf8(std::string_view(bytes).substr(at)).n_bytes, 1));
  }
  starts.push_back(bytes.size());
  return starts;
}

Text upper(const Text& text) {
  return map_characters(text, [](char32_t c, bool) { return upper_of(c); });
}
Text lower(const Text& text) {
  return map_characters(text, [](char32_t c, bool) { return lower_of(c); });
}
Text title(const Text& text) {
  return map_characters(text, [](char32_t c, bool behind) { return behind ? lower_of(c) : upper_of(c); });
}
Text capitalize(const Text& text) {
  bool first = true;
  return map_characters(text,
                        [&](char32_t c, bool) { return std::exchange(first, false) ? upper_of(c) : lower_of(c); });
}

Text strip(const Text& text, std::string_view set, bool left, bool right) {
  const std::string& bytes = text.bytes();
  const std::vector<std::size_t> starts = character_starts(bytes);
  const auto is_stripped = [&](std::size_t i) {
    const std::string_view c = std::string_view(bytes).substr(starts[i], starts[i + 1] - starts[i]);
    return set.empty() ? is_space(code_point(bytes, starts[i])) : set.find(c) != std::string_view::npos;
  };
  std::size_t begin = 0, end = starts.size() - 1;
  while (left && begin < end && is_stripped(begin)) ++begin;
  while (right && end > begin && is_stripped(end - 1)) --end;
  return text.substr(starts[begin], starts[end]);
}

std::vector<Text> lines_of(const Text& text) {
  std::vector<Text> lines;
  const std::string& bytes = text.bytes();
  const std::vector<std::size_t> starts = character_starts(bytes);
  std::size_t from = 0;
  for (std::size_t i = 0; i + 1 < starts.size(); ++i) {
    const char32_t c = code_point(bytes, starts[i]);
    const bool ends = (c >= 0xA && c <= 0xD) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (!ends) continue;
    lines.push_back(text.substr(from, starts[i]));
    if (c == '\r' && i + 2 < starts.size() && bytes[starts[i + 1]] == '\n') ++i;
    from = starts[i + 1];
  }
  if (from < bytes.size()) lines.push_back(text.substr(from, bytes.size()));
  return lines;
}

List split_words(Interpreter& interpreter, const Text& text, int64_t most) {
  interpreter.charge_bytes(text.size());
  List out;
  const std::vector<std::size_t> starts = character_starts(text.bytes());
  const auto is_space_at = [&](std::size_t i) { return is_space(code_point(text.bytes(), starts[i])); };
  for (std::size_t i = 0; i + 1 < starts.size();) {
    if (is_space_at(i)) {
      ++i;
      continue;
    }
    interpreter.charge_items(1);
    std::size_t end = i;
    if (most >= 0 && static_cast<int64_t>(out.size()) == most) {
      end = starts.size() - 1;
      out.emplace_back(strip(text.substr(starts[i], starts[end]), {}, false, true));
      return out;
    }
    while (end + 1 < starts.size() && !is_space_at(end)) ++end;
    out.emplace_back(text.substr(starts[i], starts[end]));
    i = end;
  }
  return out;
}

List split_at(Interpreter& interpreter, const Text& text, std::string_view separator, int64_t most, bool from_right) {
  if (separator.empty()) fail_value("a split at an empty text");
  interpreter.charge_bytes(text.size());
  std::vector<std::size_t> cuts;
  const std::string& bytes = text.bytes();
  const auto room = [&] { return most < 0 || static_cast<int64_t>(cuts.size()) < most; };
  if (from_right) {
    for (std::size_t end = bytes.size(); room() && end >= separator.size();) {
      const std::size_t at = bytes.rfind(separator, end - separator.size());
      if (at == std::string::npos) break;
      cuts.push_back(at);
      end = at;
    }
    std::reverse(cuts.begin(), cuts.end());
  } else {
    for (std::size_t at = bytes.find(separator); room() && at != std::string::npos;
         at = bytes.find(separator, at + separator.size()))
      cuts.push_back(at);
  }
  interpreter.charge_items(cuts.size() + 1);
  List out;
  std::size_t from = 0;
  for (const std::size_t cut : cuts) {
    out.emplace_back(text.substr(from, cut));
    from = cut + separator.size();
  }
  out.emplace_back(text.substr(from, bytes.size()));
  return out;
}

Text replace(Interpreter& interpreter, const Text& text, const Text& old, const Text& with, int64_t most) {
  Text out;
  const std::string& bytes = text.bytes();
  std::size_t from = 0;
  const auto put = [&](const Text& part) {
    interpreter.charge_bytes(part.size() + 1);
    out.append(part);
  };
  if (old.empty()) {  // between all characters
    const std::vector<std::size_t> starts = character_starts(bytes);
    for (std::size_t i = 0; i < starts.size(); ++i) {
      if (most < 0 || static_cast<int64_t>(i) < most) put(with);
      if (i + 1 < starts.size()) put(text.substr(starts[i], starts[i + 1]));
    }
    return out;
  }
  for (std::size_t at = bytes.find(old.bytes()); at != std::string::npos && most != 0;
       at = bytes.find(old.bytes(), from)) {
    put(text.substr(from, at));
    put(with);
    from = at + old.size();
    --most;
  }
  put(text.substr(from, bytes.size()));
  return out;
}

}  // namespace gradus::lm::jinja
