// UTF-8 to code points, strictly (Unicode 15, table 3-7): no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace gradus::lm {

struct CodePoint {
  char32_t value = 0;
  int n_bytes = 0;  // 1..4; 0 when the bytes are not valid UTF-8
};

// The code point at the front of `text`, which is not empty.
CodePoint decode_utf8(std::string_view text);

// The code point at the front of valid UTF-8, which is not empty and not checked again.
inline CodePoint decode_valid_utf8(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[i])); };
  const char32_t first = byte(0);
  if (first < 0x80) return {first, 1};
  if (first < 0xE0) return {(first & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (first < 0xF0) return {(first & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  return {(first & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F), 4};
}

// Appends the character `c`, a code point that is no surrogate.
void append_utf8(std::string& text, char32_t c);

// Where the text stops being UTF-8 from `from` on, or npos.
std::size_t find_invalid_utf8(std::string_view text, std::size_t from = 0);

// How many bytes at the front of `text`, which are not valid UTF-8 there, a reader replaces by one U+FFFD: the longest
// beginning of a valid sequence, at least 1 (Unicode 15, section 3.9). `may_go_on`: more bytes could make it valid.
struct InvalidUtf8 {
  int n_bytes = 1;
  bool may_go_on = false;
};
InvalidUtf8 measure_invalid_utf8(std::string_view text);

// U+FFFD.
inline constexpr std::string_view kReplacementCharacter = "\xef\xbf\xbd";

}  // namespace gradus::lm
