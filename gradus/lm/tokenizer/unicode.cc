#include "gradus/lm/tokenizer/unicode.h"

#include <algorithm>
#include <map>

#include "gradus/lm/tokenizer/unicode_tables.h"
#include "gradus/lm/tokenizer/utf8.h"

namespace gradus::lm {

namespace {

constexpr std::string_view kCategoryNames = "LuLlLtLmLoMnMcMeNdNlNoPcPdPsPePiPfPoSmScSkSoZsZlZpCcCfCsCoCn";

uint16_t derived(char32_t c, uint16_t properties) {
  const int category = properties & kCategoryMask;
  if (category <= kLo) return kLetter;
  if (category >= kNd && category <= kNo) return kNumber;
  const bool is_space = (category >= kZs && category <= kZp) || (c >= 0x9 && c <= 0xD) || c == 0x85;
  return is_space ? kSpace : 0;
}

}  // namespace

CharacterTable::CharacterTable() {
  std::map<std::array<uint16_t, 256>, uint16_t> known;
  std::array<uint16_t, 256> block{};
  std::size_t row = 0;
  for (char32_t c = 0; c < 0x110000; ++c) {
    while (row + 1 < detail::kPropertiesSize && detail::kProperties[row + 1] >> 10 <= c) ++row;
    const auto properties = static_cast<uint16_t>(detail::kProperties[row] & 1023);
    block[c & 255] = properties | derived(c, properties);
    if ((c & 255) != 255) continue;
    const auto [it, is_new] = known.emplace(block, static_cast<uint16_t>(blocks_.size()));
    if (is_new) blocks_.push_back(block);
    index_[c >> 8] = it->second;
  }
}

const CharacterTable& characters() {
  static const CharacterTable table;
  return table;
}

bool is_rust_word(char32_t c) {
  const uint16_t p = characters()[c];
  return c == 0x200C || c == 0x200D || ((p & kWordCharacter) != 0 && !(c < 0x100 && (p & kCategoryMask) == kNo));
}

void append_lower(std::string& text, char32_t c) {
  if (c == 0x130) {
    text += "i\xcc\x87";
    return;
  }
  const auto* end = detail::kLower + detail::kLowerSize;
  const auto* range =
      std::lower_bound(detail::kLower, end, c, [](const detail::LowerRange& r, char32_t x) { return r.last < x; });
  const bool found = range != end && range->first <= c && static_cast<int32_t>(c - range->first) % range->step == 0;
  append_utf8(text, found ? static_cast<char32_t>(static_cast<int32_t>(c) + range->difference) : c);
}

uint32_t categories_named(std::string_view name) {
  uint32_t found = 0;
  for (std::size_t i = 0; i * 2 < kCategoryNames.size(); ++i) {
    const std::string_view category = kCategoryNames.substr(i * 2, 2);
    if (name == category || name == category.substr(0, 1)) found |= 1u << i;
  }
  return found;
}

}  // namespace gradus::lm
