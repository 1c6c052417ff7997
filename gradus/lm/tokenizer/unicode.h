// What is known of each Unicode character: general category, white space, word characters, small letters; as the
// `tokenizers` package sees them, whose ids we reproduce, whatever Unicode the libraries of this machine know.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gradus::lm {

// The properties of a character are a category, a number below 32, and flags.
enum Category : uint16_t {
  kLu,
  kLl,
  kLt,
  kLm,
  kLo,
  kMn,
  kMc,
  kMe,
  kNd,
  kNl,
  kNo,
  kPc,
  kPd,
  kPs,
  kPe,  // clang-format off
  kPi, kPf, kPo, kSm, kSc, kSk, kSo, kZs, kZl, kZp, kCc, kCf, kCs, kCo, kCn  // clang-format on
};
constexpr uint16_t kCategoryMask = 31;
constexpr uint16_t kWordCharacter = 1 << 5;   // \w
constexpr uint16_t kNumeric = 1 << 6;         // to the pre-tokenizer "Digits"
constexpr uint16_t kPunctuation = 1 << 7;     // to the pre-tokenizer "Punctuation"
constexpr uint16_t kComposes = 1 << 8;        // normalisation form C may change it or join it with what stands before
constexpr uint16_t kUnknownToForms = 1 << 9;  // too young for the normal forms, which pass it over
constexpr uint16_t kLetter = 1 << 10;         // \p{L}
constexpr uint16_t kNumber = 1 << 11;         // \p{N}
constexpr uint16_t kSpace = 1 << 12;          // \s, White_Space

// The properties of every code point, in two stages.
class CharacterTable {
 public:
  uint16_t operator[](char32_t c) const { return blocks_[index_[c >> 8]][c & 255]; }  // c at most U+10FFFF

 private:
  friend const CharacterTable& characters();
  CharacterTable();

  std::array<uint16_t, 0x1100> index_{};
  std::vector<std::array<uint16_t, 256>> blocks_;
};

const CharacterTable& characters();

// \w of Rust's regular expressions, which have the joiners, and of Latin-1 no numbers but digits.
bool is_rust_word(char32_t c);

// Appends the small letters of `c`: itself where it has none, two characters for U+0130.
void append_lower(std::string& text, char32_t c);

// Bits of the categories that a name stands for: "L", "Lu", "N", "P", ...; 0 for a name of something else.
uint32_t categories_named(std::string_view name);

}  // namespace gradus::lm
