// What is done to text before it is cut: the normalizers of tokenizer.json. Text that comes out is what the vocabulary
// is looked up by.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "gradus/lm/tokenizer/regex.h"

namespace gradus::lm {

// Replaces every match by `content`, without interpreting it.
struct Replacement {
  std::variant<std::string, Regex> pattern;  // a text or an expression
  std::string content;
  bool operator==(const Replacement&) const = default;
};

// Throws exhausted when the result is longer than kLongestText.
std::string replace_all(std::string_view text, const Replacement& replacement);

// Files of others could make a text grow with each step. Throws exhausted beyond `most` bytes.
inline constexpr std::size_t kLongestText = std::size_t{1} << 30;
void check_length(std::size_t n_bytes, std::size_t most = kLongestText);

struct NormalForm {
  bool compatible = false;  // NFKC, else NFC
  bool operator==(const NormalForm&) const = default;
};
struct Lowercase {
  bool operator==(const Lowercase&) const = default;
};
struct Prepend {
  std::string text;  // not to an empty text
  bool operator==(const Prepend&) const = default;
};
struct StripSpace {
  bool left = true, right = true;
  bool operator==(const StripSpace&) const = default;
};

using NormalizerStep = std::variant<NormalForm, Lowercase, Replacement, Prepend, StripSpace>;

struct Normalized {
  std::string text;
  bool starts_at_start = true;  // its first character stands for what was at byte 0
};

struct Normalizer {
  std::vector<NormalizerStep> steps;

  bool is_identity() const { return steps.empty(); }

  //   text  valid UTF-8
  // Throws exhausted when the steps make it longer by a factor that no published file comes near.
  Normalized operator()(std::string_view text) const;
  bool operator==(const Normalizer&) const = default;
};

}  // namespace gradus::lm
