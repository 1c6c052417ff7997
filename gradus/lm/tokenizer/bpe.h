// Byte-pair encoding of one word: it is cut into characters or bytes, then the pair of neighbours that comes first in
// the list of merges is joined, again and again. Sennrich et al. 2016; details as the `tokenizers` package has them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gradus/lm/tokenizer/token_table.h"

namespace gradus::lm {

struct BpeOptions {
  bool byte_fallback = false;  // a character without a token becomes the tokens "<0x00>" ... of its bytes
  bool fuse_unk = false;       // neighbouring unknown characters are one unknown token
  bool ignore_merges = false;  // a word that is a token is that token, whatever the merges would make of it
  std::optional<std::string> unk_token{};
  bool operator==(const BpeOptions&) const = default;
};

struct Bpe {
  std::vector<std::string> tokens{};                  // the id of each is its place; empty for ids that are not its
  std::vector<std::pair<int32_t, int32_t>> merges{};  // ids, what goes first first
  BpeOptions options{};
  bool operator==(const Bpe&) const = default;
};

// Immutable once built; threads may share one.
class BpeEncoder {
 public:
  BpeEncoder() = default;

  // byte_level: words are bytes, and a token is spelled in the characters that stand for them.
  // Throws corrupt, naming `origin`, when a merge's result is no token or the unknown token is none.
  BpeEncoder(const Bpe& bpe, bool byte_level, std::string_view origin);

  // Appends the word's ids. Returns npos, or the byte in the word where a character or byte has no token and there is
  // no unknown one; `tokenizers` would drop it.
  static constexpr std::size_t npos = std::string_view::npos;
  std::size_t encode(std::string_view word, std::vector<int32_t>& ids) const;

 private:
  std::size_t encode_piece(std::string_view word, std::vector<int32_t>& ids) const;
  std::size_t append_symbols(std::string_view word, std::vector<int32_t>& symbols) const;
  void merge_few(std::span<int32_t> symbols, std::vector<int32_t>& ids) const;
  void merge_many(std::span<const int32_t> symbols, std::vector<int32_t>& ids) const;
  std::vector<int32_t> merged(std::string_view word) const;

  TokenTable tokens_;
  PairTable merges_;
  BpeOptions options_;
  std::optional<int32_t> unk_id_;
  bool byte_level_ = false;
  bool cuts_at_blocks_ = false;      // no token has U+2581 behind another character, so no merge crosses that place
  std::vector<bool> is_own_result_;  // [tokens] encoding the token's text by merges gives the token
};

}  // namespace gradus::lm
