#include "gradus/lm/tokenizer/byte_characters.h"

#include <algorithm>
#include <array>

#include "gradus/lm/tokenizer/utf8.h"

namespace gradus::lm {

namespace {

constexpr bool is_printable(uint32_t byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr std::array<char32_t, 256> kCharacters = [] {
  std::array<char32_t, 256> characters{};
  char32_t next = 0x100;
  for (uint32_t byte = 0; byte < 256; ++byte) characters[byte] = is_printable(byte) ? byte : next++;
  return characters;
}();

}  // namespace

std::string byte_character(uint8_t byte) {
  const char32_t c = kCharacters[byte];  // below U+0800
  if (c < 0x80) return {static_cast<char>(c)};
  return {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
}

std::optional<uint8_t> byte_of_character(std::string_view token) {
  if (token.empty()) return std::nullopt;
  const CodePoint c = decode_utf8(token);
  if (c.n_bytes == 0 || static_cast<std::size_t>(c.n_bytes) != token.size()) return std::nullopt;
  const auto found = std::find(kCharacters.begin(), kCharacters.end(), c.value);
  if (found == kCharacters.end()) return std::nullopt;
  return static_cast<uint8_t>(found - kCharacters.begin());
}

}  // namespace gradus::lm
