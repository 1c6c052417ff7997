// UTF-8 to code points, strictly (Unicode 15, table 3-7): no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstdint>
#include <string_view>

namespace gradus::lm {

struct CodePoint {
  char32_t value = 0;
  int n_bytes = 0;  // 1..4; 0 when the bytes are not valid UTF-8
};

// The code point at the front of `text`, which is not empty.
CodePoint decode_utf8(std::string_view text);

}  // namespace gradus::lm
