// A template's tokens.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gradus::lm::jinja {

struct Token {
  enum class Kind { data, print_begin, print_end, block_begin, block_end, name, text, integer, number, symbol, end };
  Kind kind = Kind::end;
  std::string text{};  // of a text: what it stands for
  int line = 0;
};

// Throws corrupt, naming the line. Ends with a token `end`.
std::vector<Token> tokenize(std::string_view source);

// Throws corrupt: "chat template: line N: fact".
[[noreturn]] void fail_at(int line, std::string_view fact);

}  // namespace gradus::lm::jinja
