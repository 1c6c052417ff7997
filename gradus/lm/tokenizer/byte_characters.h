// The character that stands for each byte in a byte-level vocabulary, so that every token is text that can be printed:
// the table `bytes_to_unicode` of Radford et al. 2019 (GPT-2), which all byte-level tokenizers use since.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gradus::lm {

// Printable Latin-1 characters stand for themselves, the 68 other bytes in order for U+0100, U+0101, ... As UTF-8.
//   'A' -> "A", ' ' -> "\u0120", '\n' -> "\u010A"
std::string byte_character(uint8_t byte);

// The byte that `token` stands for; nothing unless it is one of the 256 characters.
std::optional<uint8_t> byte_of_character(std::string_view token);

}  // namespace gradus::lm
