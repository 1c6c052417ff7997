// Tokens to text: the decoders of tokenizer.json, as a chain that takes one token after the other, so that a stream and
// a text at once come from the same code.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "gradus/lm/tokenizer/normalizer.h"

namespace gradus::lm {

// All tokens become bytes, by the characters that stand for them; a token with another character is its own bytes.
struct FromByteLevel {
  bool operator==(const FromByteLevel&) const = default;
};
// "<0x41>" becomes the byte.
struct FromByteFallback {
  bool operator==(const FromByteFallback&) const = default;
};
struct Fuse {
  bool operator==(const Fuse&) const = default;
};
struct StripCharacter {
  std::string content;              // one character
  std::size_t start = 0, stop = 0;  // how often at most, at the beginning and at the end of each token
  bool operator==(const StripCharacter&) const = default;
};
struct FromMetaspace {
  std::string replacement = "\xe2\x96\x81";
  bool drops_first = true;  // those of the first token become nothing, others a space
  bool operator==(const FromMetaspace&) const = default;
};

using DecoderStep = std::variant<FromByteLevel, FromByteFallback, Fuse, Replacement, StripCharacter, FromMetaspace>;

struct Decoder {
  bool joins_with_spaces = false;  // tokens of a tokenizer without a decoder
  std::vector<DecoderStep> steps;
  bool operator==(const Decoder&) const = default;
};

// What a token stands for where FromByteLevel meets it.
std::string bytes_of_token(std::string_view token);

// One decoding. Text comes out once nothing that may follow changes it.
class DecoderChain {
 public:
  // replace_invalid: bytes that are no UTF-8 become U+FFFD, as in `tokenizers`; else they come out as they are.
  // in_bytes: tokens come as bytes_of_token has them, which the first step, FromByteLevel, then leaves to its caller.
  DecoderChain(const Decoder& decoder, bool replace_invalid, bool in_bytes);
  DecoderChain(DecoderChain&&) noexcept;
  DecoderChain& operator=(DecoderChain&&) noexcept;
  ~DecoderChain();

  void push(std::string_view token);
  void finish();  // no token comes any more

  std::string take() { return std::exchange(text_, {}); }  // what came out since the last call

  class Stage;

 private:
  void send(std::size_t stage, std::string_view text, bool begins_token);

  std::vector<std::unique_ptr<Stage>> stages_;
  std::string text_;
};

}  // namespace gradus::lm
