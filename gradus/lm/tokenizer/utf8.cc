#include "gradus/lm/tokenizer/utf8.h"

#include <cstring>

namespace gradus::lm {

CodePoint decode_utf8(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const char32_t first = byte(0);
  if (first < 0x80) return {first, 1};
  if (first < 0xC2 || first > 0xF4) return {};  // a continuation byte, an overlong form, or above U+10FFFF

  const int n_bytes = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  if (text.size() < static_cast<std::size_t>(n_bytes)) return {};
  char32_t value = first & (0x7Fu >> n_bytes);
  for (int i = 1; i < n_bytes; ++i) {
    const char32_t next = byte(static_cast<std::size_t>(i));
    if ((next & 0xC0u) != 0x80u) return {};
    value = value << 6 | (next & 0x3Fu);
  }
  const bool overlong = (n_bytes == 3 && value < 0x800) || (n_bytes == 4 && value < 0x10000);
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (overlong || surrogate || value > 0x10FFFF) return {};
  return {value, n_bytes};
}

void append_utf8(std::string& text, char32_t c) {
  const auto put = [&](char32_t bits) { text += static_cast<char>(bits); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6), put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18), put(0x80 | (c >> 12 & 0x3F)), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
  }
}

std::size_t find_invalid_utf8(std::string_view text, std::size_t from) {
  for (std::size_t at = from; at < text.size();) {
    uint64_t eight = 0x8080808080808080u;
    if (text.size() - at >= 8) std::memcpy(&eight, text.data() + at, 8);
    if ((eight & 0x8080808080808080u) == 0) {
      at += 8;
      continue;
    }
    const CodePoint c = decode_utf8(text.substr(at));
    if (c.n_bytes == 0) return at;
    at += static_cast<std::size_t>(c.n_bytes);
  }
  return std::string_view::npos;
}

InvalidUtf8 measure_invalid_utf8(std::string_view text) {
  // A beginning of a sequence is good when some continuation completes it; the second byte alone decides what the third
  // and fourth may be.
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0xC2 || first > 0xF4) return {};
  const std::size_t n_bytes = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  const unsigned least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const unsigned most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  std::size_t n = 1;
  if (n < text.size() && n < n_bytes && byte(1) >= least && byte(1) <= most) {
    ++n;
    while (n < text.size() && n < n_bytes && (byte(n) & 0xC0) == 0x80) ++n;
  }
  return {static_cast<int>(n), n == text.size()};
}

}  // namespace gradus::lm
