// Regular expressions of tokenizer files. They are written for Oniguruma with Ruby's syntax, as `tokenizers` reads
// them, and run on PCRE2: what the two read differently is rewritten, and characters have the properties of unicode.h.
// Patterns come from files of others: their work is bounded, and passing a bound is an Error.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gradus::lm {

struct Match {
  std::size_t begin = 0, end = 0;  // in bytes
  bool operator==(const Match&) const = default;
};

// Immutable; threads may share one. Copies share the compiled program.
class Regex {
 public:
  // Throws corrupt when the pattern is none, and unsupported, naming what, when PCRE2 would read it differently; both
  // name `origin`.
  Regex(std::string pattern, std::string_view origin);

  // All matches from the left, none within another, as Oniguruma's iterator finds them: an empty one where the last
  // match ended is passed over.
  //   text  valid UTF-8
  // Throws exhausted when a match takes more steps than are allowed.
  std::vector<Match> find_all(std::string_view text) const;

  const std::string& pattern() const { return pattern_; }
  bool operator==(const Regex& other) const { return pattern_ == other.pattern_; }

 private:
  std::string pattern_;
  std::shared_ptr<const void> program_;  // pcre2_code
};

// The pattern as PCRE2 must read it. Throws unsupported, naming `origin`.
std::string pcre2_pattern(std::string_view pattern, std::string_view origin);

// What a class of a PCRE2 pattern must list so that exactly the wanted code points are matched, whatever version of
// Unicode PCRE2 has.
class ClassItems {
 public:
  ClassItems();

  //   base        what PCRE2 itself has for it, such as "\p{L}", empty for nothing: it stands first, with what it lacks
  //               behind, unless it has more than what is wanted
  //   is_member   [0x110000], false for surrogates
  std::string operator()(std::string_view base, const std::vector<bool>& is_member) const;

 private:
  std::string everything_;         // the code points that versions of Unicode may differ in
  std::vector<char32_t> at_byte_;  // the code point of each byte there
};

}  // namespace gradus::lm
