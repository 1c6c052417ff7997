#include "gradus/lm/tokenizer/word_scan.h"

#include <array>
#include <cstdint>

#include "gradus/lm/tokenizer/unicode.h"
#include "gradus/lm/tokenizer/utf8.h"

namespace gradus::lm {

namespace {

constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr uint16_t kNotOther = kLetter | kNumber | kSpace;

// Reads along a text. The character at a place: its properties and width, 0 and 0 at the end.
class Scan {
 public:
  explicit Scan(std::string_view text) : text_(text), table_(characters()) {}

  struct Character {
    uint16_t properties = 0;
    std::size_t width = 0;
    bool is(uint16_t flags) const { return width > 0 && (properties & flags) != 0; }
    bool is_other() const { return width > 0 && (properties & kNotOther) == 0; }  // [^\s\p{L}\p{N}]
  };

  Character at(std::size_t i) const {
    if (i >= text_.size()) return {};
    const CodePoint c = decode_valid_utf8(text_.substr(i));
    return {table_[c.value], static_cast<std::size_t>(c.n_bytes)};
  }
  char byte(std::size_t i) const { return i < text_.size() ? text_[i] : '\0'; }
  std::size_t size() const { return text_.size(); }

  // The end of the run of characters with one of `flags` from i on.
  std::size_t run(std::size_t i, uint16_t flags) const {
    for (Character c = at(i); c.is(flags); c = at(i)) i += c.width;
    return i;
  }
  std::size_t run_of_others(std::size_t i) const {
    for (Character c = at(i); c.is_other(); c = at(i)) i += c.width;
    return i;
  }

  // \s+(?!\S)|\s+  at 0, where a space is: the last space before a word is left to the word.
  std::size_t spaces() const {
    std::size_t i = 0, last = 0;
    for (Character c = at(0); c.is(kSpace); c = at(i)) last = i, i += c.width;
    return i < size() && last > 0 ? last : i;
  }

  // 's 't 'm 'd 're 've 'll  at 0, or 0. Without regard to case, U+017F is an s, too.
  std::size_t contraction(bool any_case) const {
    if (byte(0) != '\'') return 0;
    const auto letter = [&](std::size_t i) {
      const char c = byte(i);
      return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    };
    const char a = letter(1), b = letter(2);
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return 3;
    return any_case && text_.substr(1).starts_with("\xc5\xbf") ? 3 : 0;
  }

 private:
  std::string_view text_;
  const CharacterTable& table_;
};

std::size_t next_gpt2(const Scan& s) {
  if (const std::size_t n = s.contraction(false)) return n;
  const std::size_t begin = s.byte(0) == ' ' ? 1 : 0;
  const Scan::Character c = s.at(begin);
  if (c.is(kLetter)) return s.run(begin + c.width, kLetter);
  if (c.is(kNumber)) return s.run(begin + c.width, kNumber);
  if (c.is_other()) return s.run_of_others(begin + c.width);
  return s.spaces();
}

std::size_t next_llama3(const Scan& s, int most_digits) {
  if (const std::size_t n = s.contraction(true)) return n;
  const Scan::Character c = s.at(0);
  if (c.is(kLetter)) return s.run(c.width, kLetter);
  if (c.is(kNumber)) {
    std::size_t i = c.width;
    for (int n = 1; n < most_digits && s.at(i).is(kNumber); ++n) i += s.at(i).width;
    return i;
  }
  const auto is_line_end = [&](std::size_t i) { return s.byte(i) == '\r' || s.byte(i) == '\n'; };
  if (!is_line_end(0) && s.at(c.width).is(kLetter)) return s.run(c.width, kLetter);
  const std::size_t begin = s.byte(0) == ' ' ? 1 : 0;
  if (s.at(begin).is_other()) {
    std::size_t i = s.run_of_others(begin);
    while (is_line_end(i)) ++i;
    return i;
  }
  std::size_t after_line = 0;  // \s*[\r\n]+
  for (std::size_t i = 0; s.at(i).is(kSpace); i += s.at(i).width) {
    if (is_line_end(i)) after_line = i + 1;
  }
  return after_line > 0 ? after_line : s.spaces();
}

}  // namespace

std::optional<WordPattern> word_pattern(std::string_view regex) {
  for (const WordPattern pattern : {WordPattern::gpt2, WordPattern::llama3, WordPattern::qwen2}) {
    if (regex == regex_of(pattern)) return pattern;
  }
  return std::nullopt;
}

std::string_view regex_of(WordPattern pattern) {
  return pattern == WordPattern::gpt2 ? kGpt2Pattern : pattern == WordPattern::llama3 ? kLlama3Pattern : kQwen2Pattern;
}

std::size_t next_word(WordPattern pattern, std::string_view text) {
  const Scan scan(text);
  return pattern == WordPattern::gpt2 ? next_gpt2(scan) : next_llama3(scan, pattern == WordPattern::llama3 ? 3 : 1);
}

}  // namespace gradus::lm
