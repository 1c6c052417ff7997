#include "gradus/lm/tokenizer/utf8.h"

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

}  // namespace gradus::lm
