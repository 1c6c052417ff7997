// What followed when a text's end stood in it before: guesses that cost no model (prompt lookup, Saxena 2023).
#pragma once

#include <cstdint>
#include <span>

namespace gradus::lm {

struct Repetition {
  int64_t length = 0;                       // of the end that stood there before; 0: none did
  std::span<const int32_t> continuation{};  // what came after it, at most as long as asked for
};

// The longest end of `text`, of `shortest` to `longest` tokens, that also stands earlier in it, and of several such
// places the last one. Cost: the text is read once.
Repetition find_repetition(std::span<const int32_t> text, int64_t shortest, int64_t longest, int64_t most);

}  // namespace gradus::lm
