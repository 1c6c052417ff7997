// Cuts text into words as the regular expressions of the published models do, by hand: GPT-2's, Llama 3's and Qwen 2's.
// The same as regex.h does with the expression, many times as fast.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace gradus::lm {

enum class WordPattern { gpt2, llama3, qwen2 };

// Radford et al. 2019, what the pre-tokenizer "ByteLevel" cuts by.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// The pattern that we have by hand, if the text is one of theirs.
std::optional<WordPattern> word_pattern(std::string_view regex);
std::string_view regex_of(WordPattern pattern);

// Bytes of the word at the front of `text`, valid UTF-8 and not empty. Each of the patterns takes some word everywhere.
std::size_t next_word(WordPattern pattern, std::string_view text);

}  // namespace gradus::lm
