// The tables behind unicode.h, which tools/oracle/make_unicode_tables.py writes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gradus::lm::detail {

// Where the properties change: code point << 10 | properties from there on, ascending, from code point 0.
extern const uint32_t kProperties[];
extern const std::size_t kPropertiesSize;

// Capitals: the small letter of first, first + step, ..., last lies `difference` further.
struct LowerRange {
  char32_t first, last;
  int32_t step, difference;
};
extern const LowerRange kLower[];
extern const std::size_t kLowerSize;

}  // namespace gradus::lm::detail
