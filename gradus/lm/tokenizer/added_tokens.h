// Tokens that are found in text as a whole, before anything else is done to it: special tokens, and others that were
// added to a vocabulary.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gradus/lm/tokenizer/regex.h"

namespace gradus::lm {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false;  // not beside word characters
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // and behind it
  bool normalized = false;   // is looked for in the normalised text, itself normalised
  bool special = false;      // skipped by decode on demand, and text to encode on demand
  bool operator==(const AddedToken&) const = default;
};

// A part of a text: an added token, or what is between two.
struct Segment {
  std::size_t begin = 0, end = 0;
  int32_t id = -1;  // of the token, or -1
};

// Finds the longest token at the first place where one is, then goes on behind it. Immutable; threads may share one.
class AddedTokenFinder {
 public:
  AddedTokenFinder() = default;

  // `tokens` with the text that each is found by; the texts must differ and not be empty.
  explicit AddedTokenFinder(std::vector<std::pair<std::string, AddedToken>> tokens);

  // The segments of `text`, valid UTF-8, in order; none is empty but where white space belongs to two tokens.
  //   goes_on_inside   the search goes on within a token that is text, and not behind it as in `tokenizers`
  template <class IsText>
  std::vector<Segment> find(std::string_view text, bool goes_on_inside, const IsText& is_text) const {
    std::vector<Segment> out;
    std::size_t covered = 0;
    for (std::size_t at = 0; at < text.size();) {
      const Found found = next(text, at);
      if (found.token == nullptr) break;
      at = found.end;
      if (found.token->special && is_text(found.begin, found.end)) {
        if (goes_on_inside) at = found.begin + 1;
        continue;
      }
      if (found.token->single_word && !is_single_word(text, found.begin, found.end)) continue;
      const Segment s = with_space(text, found, covered);
      if (covered < s.begin) out.push_back({covered, s.begin, -1});
      out.push_back(s);
      covered = s.end;
    }
    if (covered < text.size()) out.push_back({covered, text.size(), -1});
    return out;
  }

  bool is_empty() const { return tokens_.empty(); }

 private:
  struct Found {
    std::size_t begin = 0, end = 0;
    const AddedToken* token = nullptr;
  };
  Found next(std::string_view text, std::size_t from) const;
  static bool is_single_word(std::string_view text, std::size_t begin, std::size_t end);
  static Segment with_space(std::string_view text, const Found& found, std::size_t covered);

  std::vector<std::pair<std::string, AddedToken>> tokens_;  // ascending by text
  std::array<bool, 256> may_begin_{};
};

}  // namespace gradus::lm
