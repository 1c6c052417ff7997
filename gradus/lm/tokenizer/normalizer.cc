#include "gradus/lm/tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "gradus/core/error.h"
#include "gradus/lm/tokenizer/unicode.h"
#include "gradus/lm/tokenizer/utf8.h"

namespace gradus::lm {

namespace {

// Calls f(character, its place) along valid UTF-8.
template <class F>
void for_each_character(std::string_view text, const F& f) {
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = decode_valid_utf8(text.substr(at));
    f(c.value, at);
    at += static_cast<std::size_t>(c.n_bytes);
  }
}

// Whether normal form C is sure to leave the text as it is.
bool is_surely_composed(std::string_view text) {
  const CharacterTable& table = characters();
  for (std::size_t at = 0; at < text.size();) {
    if (static_cast<unsigned char>(text[at]) < 0xCC) {  // below U+0300
      ++at;
      continue;
    }
    const CodePoint c = decode_valid_utf8(text.substr(at));
    if ((table[c.value] & (kComposes | kUnknownToForms)) != 0) return false;
    at += static_cast<std::size_t>(c.n_bytes);
  }
  return true;
}

void append_form(std::string& out, std::string_view text, bool compatible) {
  if (text.empty()) return;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE |
                                                      (compatible ? UTF8PROC_COMPAT : utf8proc_option_t{}));
  utf8proc_uint8_t* formed = nullptr;
  const utf8proc_ssize_t n = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                          static_cast<utf8proc_ssize_t>(text.size()), &formed, options);
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(formed, &std::free);
  if (n < 0) fail(ErrorCode::exhausted, "tokenizer: normalisation of {} bytes: {}", text.size(), utf8proc_errmsg(n));
  out.append(reinterpret_cast<const char*>(formed), static_cast<std::size_t>(n));
}

bool is_ascii(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  }
  return true;
}

// Characters that `tokenizers` does not know as such cut the text: nothing is joined or moved across them.
std::string to_form(std::string_view text, bool compatible) {
  if (compatible ? is_ascii(text) : is_surely_composed(text)) return std::string(text);
  const CharacterTable& table = characters();
  std::string out;
  out.reserve(text.size());
  std::size_t begin = 0;
  for_each_character(text, [&](char32_t c, std::size_t at) {
    if ((table[c] & kUnknownToForms) == 0) return;
    append_form(out, text.substr(begin, at - begin), compatible);
    begin = at;
    append_utf8(out, c);
    begin += static_cast<std::size_t>(decode_valid_utf8(text.substr(at)).n_bytes);
  });
  append_form(out, text.substr(begin), compatible);
  return out;
}

struct Apply {
  Normalized& n;

  void operator()(const NormalForm& form) const { n.text = to_form(n.text, form.compatible); }
  void operator()(const Lowercase&) const {
    std::string out;
    out.reserve(n.text.size());
    for_each_character(n.text, [&](char32_t c, std::size_t) { append_lower(out, c); });
    n.text = std::move(out);
  }
  void operator()(const Replacement& r) const {
    const bool may_move_start = n.starts_at_start && !n.text.empty();
    const std::string_view first = std::string_view(n.text).substr(
        0, may_move_start ? static_cast<std::size_t>(decode_valid_utf8(n.text).n_bytes) : 0);
    // What takes the place of one character stands where that one stood, of several where the last one did.
    if (const auto* text = std::get_if<std::string>(&r.pattern)) {
      if (may_move_start && !text->empty() && n.text.starts_with(*text)) {
        n.starts_at_start = !r.content.empty() && *text == first;
      }
    } else if (may_move_start) {
      const std::vector<Match> matches = std::get<Regex>(r.pattern).find_all(n.text);
      if (!matches.empty() && matches.front().begin == 0 && matches.front().end > 0) {
        n.starts_at_start = !r.content.empty() && matches.front().end == first.size();
      }
    }
    n.text = replace_all(n.text, r);
  }
  void operator()(const Prepend& p) const {
    if (!n.text.empty()) n.text.insert(0, p.text);
    check_length(n.text.size());
  }
  void operator()(const StripSpace& strip) const {
    const CharacterTable& table = characters();
    std::size_t begin = 0, end = 0;
    bool inside = false;
    for_each_character(n.text, [&](char32_t c, std::size_t at) {
      if ((table[c] & kSpace) != 0) return;
      if (!inside) begin = at;
      inside = true;
      end = at + static_cast<std::size_t>(decode_valid_utf8(std::string_view(n.text).substr(at)).n_bytes);
    });
    if (!inside && (strip.left || strip.right)) begin = end = n.text.size();
    const std::size_t from = strip.left ? begin : 0;
    const std::size_t to = strip.right ? std::max(end, from) : n.text.size();
    if (from > 0) n.starts_at_start = false;
    n.text = !inside && (strip.left || strip.right) ? "" : n.text.substr(from, to - from);
  }
};

}  // namespace

void check_length(std::size_t n_bytes, std::size_t most) {
  if (n_bytes <= most) return;
  fail(ErrorCode::exhausted, "tokenizer: its steps make a text of {} bytes; at most {} are possible", n_bytes, most);
}

std::string replace_all(std::string_view text, const Replacement& replacement) {
  std::string out;
  const auto append = [&](std::string_view piece) {
    check_length(out.size() + piece.size());
    out += piece;
  };
  if (const auto* pattern = std::get_if<std::string>(&replacement.pattern)) {
    if (pattern->empty()) return std::string(text);
    std::size_t from = 0;
    for (std::size_t at = text.find(*pattern); at != std::string_view::npos; at = text.find(*pattern, from)) {
      append(text.substr(from, at - from));
      append(replacement.content);
      from = at + pattern->size();
    }
    append(text.substr(from));
    return out;
  }
  std::size_t from = 0;
  for (const Match& m : std::get<Regex>(replacement.pattern).find_all(text)) {
    append(text.substr(from, m.begin - from));
    append(replacement.content);
    from = m.end;
  }
  append(text.substr(from));
  return out;
}

Normalized Normalizer::operator()(std::string_view text) const {
  const std::size_t most = std::min(kLongestText, 100 * text.size() + 4096);
  Normalized n{std::string(text)};
  for (const NormalizerStep& step : steps) {
    std::visit(Apply{n}, step);
    check_length(n.text.size(), most);
  }
  return n;
}

}  // namespace gradus::lm
