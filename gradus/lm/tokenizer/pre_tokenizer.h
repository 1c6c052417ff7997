// Cuts normalised text into the words that merges never cross: the pre-tokenizers of tokenizer.json.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "gradus/lm/tokenizer/regex.h"
#include "gradus/lm/tokenizer/word_scan.h"

namespace gradus::lm {

// What becomes of a match and of what stands between matches.
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

struct SplitAt {
  // A text, an expression, or one of those that we have by hand (isolated and not inverted alone).
  std::variant<std::string, Regex, WordPattern> pattern;
  SplitBehavior behavior = SplitBehavior::isolated;
  bool invert = false;
  bool operator==(const SplitAt&) const = default;
};
// Bytes from here on: every byte a character of byte_characters.h. Only as the last step, the words stay bytes.
struct ToByteLevel {
  bool add_prefix_space = false;
  bool use_regex = true;
  bool operator==(const ToByteLevel&) const = default;
};
struct SplitDigits {
  bool individual = false;
  bool operator==(const SplitDigits&) const = default;
};
enum class PrependScheme { always, first, never };
struct Metaspace {
  std::string replacement = "\xe2\x96\x81";
  PrependScheme prepend = PrependScheme::always;
  bool split = true;
  bool operator==(const Metaspace&) const = default;
};
struct SplitPunctuation {
  SplitBehavior behavior = SplitBehavior::isolated;
  bool operator==(const SplitPunctuation&) const = default;
};
struct SplitWhitespace {
  bool keep_words_whole = false;  // "WhitespaceSplit"; else \w+|[^\w\s]+
  bool operator==(const SplitWhitespace&) const = default;
};

using PreTokenizerStep = std::variant<SplitAt, ToByteLevel, SplitDigits, Metaspace, SplitPunctuation, SplitWhitespace>;

// A text and the words in it, in order, none empty.
struct Words {
  std::string text;
  std::vector<Match> words;
  bool starts_at_start = true;  // the first word begins at byte 0 of the text that was given to encode
};

struct PreTokenizer {
  std::vector<PreTokenizerStep> steps;

  // Whether words are bytes and not characters that stand for bytes.
  bool is_byte_level() const { return !steps.empty() && std::holds_alternative<ToByteLevel>(steps.back()); }

  // Cuts further what is one word at first.
  //   text  valid UTF-8, not empty
  void operator()(Words& text) const;
  bool operator==(const PreTokenizer&) const = default;
};

}  // namespace gradus::lm
