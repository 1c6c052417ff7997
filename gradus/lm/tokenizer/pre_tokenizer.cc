#include "gradus/lm/tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <type_traits>

#include "gradus/lm/tokenizer/byte_characters.h"
#include "gradus/lm/tokenizer/normalizer.h"
#include "gradus/lm/tokenizer/unicode.h"
#include "gradus/lm/tokenizer/utf8.h"

namespace gradus::lm {

namespace {

// A stretch of a word: a match or what stands between two.
struct Stretch {
  std::size_t begin = 0, end = 0;
  bool is_match = false;
};

// Matches and what is between them, covering [0, size).
std::vector<Stretch> stretches(const std::vector<Match>& matches, std::size_t size) {
  std::vector<Stretch> out;
  std::size_t at = 0;
  for (const Match& m : matches) {
    if (m.begin > at) out.push_back({at, m.begin, false});
    out.push_back({m.begin, m.end, true});
    at = m.end;
  }
  if (at < size) out.push_back({at, size, false});
  return out;
}

// Every character that `is_member` is a match of its own.
template <class IsMember>
std::vector<Stretch> stretches_of_characters(std::string_view text, const IsMember& is_member) {
  std::vector<Match> matches;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = decode_valid_utf8(text.substr(at));
    const std::size_t end = at + static_cast<std::size_t>(c.n_bytes);
    if (is_member(c.value)) matches.push_back({at, end});
    at = end;
  }
  return stretches(matches, text.size());
}

// The pieces that the behaviour makes of the stretches, moved by `shift`. Merging goes by the flags of neighbours, as
// NormalizedString::split of `tokenizers` does.
void append_pieces(std::vector<Match>& out, const std::vector<Stretch>& all, SplitBehavior behavior,
                   std::size_t shift) {
  std::vector<Match> pieces;
  bool previous = false;
  const auto add = [&](const Stretch& s, bool join) {
    if (join && !pieces.empty()) {
      pieces.back() = {std::min(pieces.back().begin, s.begin), std::max(pieces.back().end, s.end)};
    } else {
      pieces.push_back({s.begin, s.end});
    }
    previous = s.is_match;
  };
  switch (behavior) {
    case SplitBehavior::removed:
      for (const Stretch& s : all) {
        if (!s.is_match) add(s, false);
      }
      break;
    case SplitBehavior::isolated:
      for (const Stretch& s : all) add(s, false);
      break;
    case SplitBehavior::contiguous:
      for (const Stretch& s : all) add(s, s.is_match == previous);
      break;
    case SplitBehavior::merged_with_previous:
      for (const Stretch& s : all) add(s, s.is_match && !previous);
      break;
    case SplitBehavior::merged_with_next:
      std::for_each(all.rbegin(), all.rend(), [&](const Stretch& s) { add(s, s.is_match && !previous); });
      std::reverse(pieces.begin(), pieces.end());
      break;
  }
  for (const Match& p : pieces) {
    if (p.begin < p.end) out.push_back({p.begin + shift, p.end + shift});
  }
}

// Cuts every word by stretches_of(the word).
template <class StretchesOf>
void cut(Words& w, SplitBehavior behavior, bool invert, const StretchesOf& stretches_of) {
  std::vector<Match> out;
  for (const Match& word : w.words) {
    std::vector<Stretch> all = stretches_of(std::string_view(w.text).substr(word.begin, word.end - word.begin));
    if (invert) {
      for (Stretch& s : all) s.is_match = !s.is_match;
    }
    append_pieces(out, all, behavior, word.begin);
  }
  if (out.empty() || out.front().begin != w.words.front().begin) w.starts_at_start = false;
  w.words = std::move(out);
}

void cut_by_hand(Words& w, WordPattern pattern) {
  std::vector<Match> out;
  out.reserve(w.words.size() + w.text.size() / 4);
  for (const Match& word : w.words) {
    for (std::size_t at = word.begin; at < word.end;) {
      const std::size_t n = next_word(pattern, std::string_view(w.text).substr(at, word.end - at));
      out.push_back({at, at + n});
      at += n;
    }
  }
  w.words = std::move(out);
}

// Rewrites every word by rewrite(word, its number).
template <class Rewrite>
void rewrite_words(Words& w, const Rewrite& rewrite) {
  Words out{"", {}, w.starts_at_start};
  for (std::size_t i = 0; i < w.words.size(); ++i) {
    const Match word = w.words[i];
    const std::size_t begin = out.text.size();
    out.text += rewrite(std::string_view(w.text).substr(word.begin, word.end - word.begin), i);
    check_length(out.text.size());
    if (out.text.size() > begin) out.words.push_back({begin, out.text.size()});
  }
  w = std::move(out);
}

std::vector<Match> occurrences(std::string_view text, std::string_view pattern) {
  std::vector<Match> out;
  if (pattern.empty()) return out;
  for (std::size_t at = text.find(pattern); at != std::string_view::npos; at = text.find(pattern, at + pattern.size()))
    out.push_back({at, at + pattern.size()});
  return out;
}

std::string in_byte_characters(std::string_view bytes) {
  std::string out;
  for (const char b : bytes) out += byte_character(static_cast<uint8_t>(b));
  return out;
}

struct Apply {
  Words& w;
  bool is_last;

  void operator()(const SplitAt& s) const {
    if (const auto* by_hand = std::get_if<WordPattern>(&s.pattern)) return cut_by_hand(w, *by_hand);
    cut(w, s.behavior, s.invert, [&](std::string_view word) {
      const auto* text = std::get_if<std::string>(&s.pattern);
      return stretches(text != nullptr ? occurrences(word, *text) : std::get<Regex>(s.pattern).find_all(word),
                       word.size());
    });
  }
  void operator()(const ToByteLevel& b) const {
    if (b.add_prefix_space) {
      rewrite_words(w, [](std::string_view word, std::size_t) {
        return word.starts_with(' ') ? std::string(word) : ' ' + std::string(word);
      });
    }
    if (b.use_regex) cut_by_hand(w, WordPattern::gpt2);
    if (!is_last) rewrite_words(w, [](std::string_view word, std::size_t) { return in_byte_characters(word); });
  }
  void operator()(const SplitDigits& d) const {
    const CharacterTable& table = characters();
    cut(w, d.individual ? SplitBehavior::isolated : SplitBehavior::contiguous, false, [&](std::string_view word) {
      return stretches_of_characters(word, [&](char32_t c) { return (table[c] & kNumeric) != 0; });
    });
  }
  void operator()(const Metaspace& m) const {
    rewrite_words(w, [&](std::string_view word, std::size_t i) {
      std::string out = replace_all(word, {" ", m.replacement});
      const bool wanted =
          m.prepend == PrependScheme::always || (m.prepend == PrependScheme::first && i == 0 && w.starts_at_start);
      if (wanted && !out.starts_with(m.replacement)) out.insert(0, m.replacement);
      return out;
    });
    if (!m.split) return;
    cut(w, SplitBehavior::merged_with_next, false,
        [&](std::string_view word) { return stretches(occurrences(word, m.replacement), word.size()); });
  }
  void operator()(const SplitPunctuation& p) const {
    const CharacterTable& table = characters();
    cut(w, p.behavior, false, [&](std::string_view word) {
      return stretches_of_characters(word, [&](char32_t c) { return (table[c] & kPunctuation) != 0; });
    });
  }
  void operator()(const SplitWhitespace& s) const {
    const CharacterTable& table = characters();
    if (s.keep_words_whole) {
      return cut(w, SplitBehavior::removed, false, [&](std::string_view word) {
        return stretches_of_characters(word, [&](char32_t c) { return (table[c] & kSpace) != 0; });
      });
    }
    const auto kind = [&](char32_t c) { return (table[c] & kSpace) != 0 ? 0 : is_rust_word(c) ? 1 : 2; };
    cut(w, SplitBehavior::removed, true, [&](std::string_view word) {
      std::vector<Match> matches;
      int previous = 0;
      for (std::size_t at = 0; at < word.size();) {
        const CodePoint c = decode_valid_utf8(word.substr(at));
        const std::size_t end = at + static_cast<std::size_t>(c.n_bytes);
        const int now = kind(c.value);
        if (now != 0 && now == previous) {
          matches.back().end = end;
        } else if (now != 0) {
          matches.push_back({at, end});
        }
        previous = now;
        at = end;
      }
      return stretches(matches, word.size());
    });
  }
};

}  // namespace

void PreTokenizer::operator()(Words& text) const {
  for (std::size_t i = 0; i < steps.size() && !text.words.empty(); ++i)
    std::visit(Apply{text, i + 1 == steps.size()}, steps[i]);
}

}  // namespace gradus::lm
