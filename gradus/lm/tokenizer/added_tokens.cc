#include "gradus/lm/tokenizer/added_tokens.h"

#include <algorithm>

#include "gradus/lm/tokenizer/unicode.h"
#include "gradus/lm/tokenizer/utf8.h"

namespace gradus::lm {

namespace {

// The character before `end`, which is not 0.
CodePoint character_before(std::string_view text, std::size_t end) {
  std::size_t begin = end - 1;
  while ((static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  return decode_valid_utf8(text.substr(begin));
}

bool is_space(char32_t c) {
  return (characters()[c] & kSpace) != 0;
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(std::vector<std::pair<std::string, AddedToken>> tokens)
    : tokens_(std::move(tokens)) {
  std::sort(tokens_.begin(), tokens_.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [text, token] : tokens_) may_begin_[static_cast<unsigned char>(text.front())] = true;
}

AddedTokenFinder::Found AddedTokenFinder::next(std::string_view text, std::size_t from) const {
  for (std::size_t begin = from; begin < text.size(); ++begin) {
    if (!may_begin_[static_cast<unsigned char>(text[begin])]) continue;
    // [first, last) are the tokens that agree with the text so far; the shortest of them comes first.
    auto first = tokens_.begin(), last = tokens_.end();
    Found found{begin, begin, nullptr};
    for (std::size_t n = 0; begin + n < text.size() && first != last; ++n) {
      const auto c = static_cast<unsigned char>(text[begin + n]);
      const auto byte = [n](const std::string& t) {
        return n < t.size() ? static_cast<int>(static_cast<unsigned char>(t[n])) : -1;
      };
      first = std::lower_bound(first, last, c, [&](const auto& t, int x) { return byte(t.first) < x; });
      last = std::upper_bound(first, last, c, [&](int x, const auto& t) { return x < byte(t.first); });
      if (first != last && first->first.size() == n + 1) found = {begin, begin + n + 1, &first->second};
    }
    if (found.token != nullptr) return found;
  }
  return {};
}

bool AddedTokenFinder::is_single_word(std::string_view text, std::size_t begin, std::size_t end) {
  return (begin == 0 || !is_rust_word(character_before(text, begin).value)) &&
         (end == text.size() || !is_rust_word(decode_valid_utf8(text.substr(end)).value));
}

Segment AddedTokenFinder::with_space(std::string_view text, const Found& found, std::size_t covered) {
  Segment s{found.begin, found.end, found.token->id};
  if (found.token->lstrip) {
    while (s.begin > covered && is_space(character_before(text, s.begin).value))
      s.begin -= static_cast<std::size_t>(character_before(text, s.begin).n_bytes);
    // White space behind the token before, which that one took along, is not taken back.
    s.begin = std::max(s.begin, std::min(covered, text.size()));
  }
  if (found.token->rstrip) {
    while (s.end < text.size() && is_space(decode_valid_utf8(text.substr(s.end)).value))
      s.end += static_cast<std::size_t>(decode_valid_utf8(text.substr(s.end)).n_bytes);
  }
  return s;
}

}  // namespace gradus::lm
