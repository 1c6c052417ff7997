#include "gradus/lm/tokenizer/bpe.h"

#include <algorithm>
#include <array>
#include <queue>

#include "gradus/core/error.h"
#include "gradus/core/json.h"
#include "gradus/lm/tokenizer/byte_characters.h"
#include "gradus/lm/tokenizer/utf8.h"

namespace gradus::lm {

namespace {

constexpr std::string_view kBlock = "\xe2\x96\x81";  // U+2581, the space of SentencePiece
constexpr std::size_t kFew = 64;  // symbols: looking for the least rank among so many is faster than a heap

// The bytes that a token of a byte-level vocabulary stands for; nothing when a character of it stands for none.
std::optional<std::string> bytes_of(std::string_view token) {
  std::string bytes;
  while (!token.empty()) {
    const auto width = static_cast<std::size_t>(decode_utf8(token).n_bytes);
    const std::optional<uint8_t> byte = width > 0 ? byte_of_character(token.substr(0, width)) : std::nullopt;
    if (!byte) return std::nullopt;
    bytes += static_cast<char>(*byte);
    token.remove_prefix(width);
  }
  return bytes;
}

// Where U+2581 begins behind another character, from `from` on; npos when nowhere.
std::size_t find_cut(std::string_view text, std::size_t from) {
  for (std::size_t at = text.find(kBlock, from); at != std::string_view::npos; at = text.find(kBlock, at + 3)) {
    if (at > 0 && !text.substr(0, at).ends_with(kBlock)) return at;
  }
  return std::string_view::npos;
}

}  // namespace

BpeEncoder::BpeEncoder(const Bpe& bpe, bool byte_level, std::string_view origin)
    : options_(bpe.options), byte_level_(byte_level) {
  std::size_t n_bytes = 0;
  for (const std::string& token : bpe.tokens) n_bytes += token.size();
  if (n_bytes >= UINT32_MAX) fail(ErrorCode::unsupported, "unsupported: {} has {} bytes of tokens", origin, n_bytes);

  tokens_.reserve(bpe.tokens.size());
  merges_.reserve(bpe.merges.size());
  for (std::size_t i = 0; i < bpe.tokens.size(); ++i) {
    if (bpe.tokens[i].empty()) continue;
    const auto text = byte_level ? bytes_of(bpe.tokens[i]) : bpe.tokens[i];
    if (text) tokens_.insert(*text, static_cast<int32_t>(i));
  }
  TokenTable spelled;  // by the characters, for merges of characters that stand for no byte
  const auto is_spelled = [&](std::string_view text) {
    if (spelled.find(text) != TokenTable::kNone) return true;
    if (!spelled.is_empty()) return false;
    spelled.reserve(bpe.tokens.size());
    for (const std::string& token : bpe.tokens) spelled.insert(token, 0);
    return spelled.find(text) != TokenTable::kNone;
  };
  const auto text_of = [&](int32_t id) { return std::string_view(bpe.tokens[static_cast<std::size_t>(id)]); };
  for (std::size_t rank = 0; rank < bpe.merges.size(); ++rank) {
    const auto [left, right] = bpe.merges[rank];
    const std::string text = std::string(text_of(left)) + std::string(text_of(right));
    const auto known = byte_level ? bytes_of(text) : text;
    const int32_t id = known ? tokens_.find(*known) : TokenTable::kNone;
    if (id != TokenTable::kNone) {
      merges_.insert(left, right, {static_cast<uint32_t>(rank), id});
    } else if (known || !is_spelled(text)) {
      fail(ErrorCode::corrupt, "{}: merge {} makes {}, which is not in the vocabulary", origin, rank, quote_text(text));
    }  // else it is never met
  }
  if (options_.unk_token) {
    const auto found = std::find(bpe.tokens.begin(), bpe.tokens.end(), *options_.unk_token);
    if (found == bpe.tokens.end()) {
      fail(ErrorCode::corrupt, "{}: the unknown token {} is not in the vocabulary", origin,
           quote_text(*options_.unk_token));
    }
    unk_id_ = static_cast<int32_t>(found - bpe.tokens.begin());
  }
  cuts_at_blocks_ = !byte_level && tokens_.find(kBlock) != TokenTable::kNone &&
                    std::none_of(bpe.tokens.begin(), bpe.tokens.end(),
                                 [](const std::string& token) { return find_cut(token, 0) != std::string_view::npos; });
  is_own_result_.resize(bpe.tokens.size());
  for (std::size_t i = 0; i < bpe.tokens.size(); ++i) {
    const auto text = byte_level ? bytes_of(bpe.tokens[i]) : bpe.tokens[i];
    if (!text || text->empty() || text->size() > kFew) continue;
    const std::vector<int32_t> ids = merged(*text);
    is_own_result_[i] = ids.size() == 1 && ids.front() == static_cast<int32_t>(i);
  }
}

// What the merges alone make of a token's text; nothing when a part of it is unknown.
std::vector<int32_t> BpeEncoder::merged(std::string_view word) const {
  std::vector<int32_t> symbols, ids;
  for (std::size_t at = 0; at < word.size();) {
    const std::size_t width = byte_level_ ? 1 : static_cast<std::size_t>(decode_valid_utf8(word.substr(at)).n_bytes);
    symbols.push_back(tokens_.find(word.substr(at, width)));
    if (symbols.back() == TokenTable::kNone) return {};
    at += width;
  }
  merge_few(symbols, ids);
  return ids;
}

std::size_t BpeEncoder::encode(std::string_view word, std::vector<int32_t>& ids) const {
  const int32_t whole = tokens_.find(word);
  if (whole != TokenTable::kNone && (options_.ignore_merges || is_own_result_[static_cast<std::size_t>(whole)])) {
    ids.push_back(whole);
    return npos;
  }
  if (!cuts_at_blocks_) return encode_piece(word, ids);
  for (std::size_t from = 0; from < word.size();) {
    const std::size_t end = std::min(find_cut(word, from + 1), word.size());
    const std::string_view piece = word.substr(from, end - from);
    const int32_t id = tokens_.find(piece);
    if (id != TokenTable::kNone && is_own_result_[static_cast<std::size_t>(id)]) {
      ids.push_back(id);
    } else if (const std::size_t unknown = encode_piece(piece, ids); unknown != npos) {
      return from + unknown;
    }
    from = end;
  }
  return npos;
}

std::size_t BpeEncoder::encode_piece(std::string_view word, std::vector<int32_t>& ids) const {
  std::vector<int32_t> symbols;
  symbols.reserve(word.size());
  if (const std::size_t unknown = append_symbols(word, symbols); unknown != npos) return unknown;
  symbols.size() <= kFew ? merge_few(symbols, ids) : merge_many(symbols, ids);
  return npos;
}

// Unknown characters are held back and come when a known one does, so they come behind the bytes of others that fell
// back; that is how `tokenizers` orders them.
std::size_t BpeEncoder::append_symbols(std::string_view word, std::vector<int32_t>& symbols) const {
  bool unk_waits = false;
  for (std::size_t at = 0; at < word.size();) {
    const std::size_t width = byte_level_ ? 1 : static_cast<std::size_t>(decode_valid_utf8(word.substr(at)).n_bytes);
    const std::string_view character = word.substr(at, width);
    at += width;
    if (const int32_t id = tokens_.find(character); id != TokenTable::kNone) {
      if (unk_waits) symbols.push_back(*unk_id_);
      unk_waits = false;
      symbols.push_back(id);
      continue;
    }
    if (options_.byte_fallback) {
      std::array<int32_t, 4> bytes{};
      std::size_t n = 0;
      // On byte level the character that stands for the byte is what falls back.
      const std::string spelled =
          byte_level_ ? byte_character(static_cast<uint8_t>(character[0])) : std::string(character);
      for (const char b : spelled) {
        bytes[n] = tokens_.find(fmt::format("<0x{:02X}>", static_cast<unsigned char>(b)));
        if (bytes[n] == TokenTable::kNone) break;
        ++n;
      }
      if (n == spelled.size()) {
        symbols.insert(symbols.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
        continue;
      }
    }
    if (!unk_id_) return at - width;
    if (unk_waits && !options_.fuse_unk) symbols.push_back(*unk_id_);
    unk_waits = true;
  }
  if (unk_waits) symbols.push_back(*unk_id_);
  return npos;
}

// At most kFew symbols, or any number at quadratic cost.
void BpeEncoder::merge_few(std::span<int32_t> symbols, std::vector<int32_t>& ids) const {
  std::size_t n = symbols.size();
  if (n > 1) {
    std::array<PairTable::Merge, kFew> few;
    std::vector<PairTable::Merge> many;
    if (n > kFew) many.resize(n);
    PairTable::Merge* merges = n > kFew ? many.data() : few.data();  // of each symbol with the next
    for (std::size_t i = 0; i + 1 < n; ++i) merges[i] = merges_.find(symbols[i], symbols[i + 1]);
    while (n > 1) {
      std::size_t best = 0;
      for (std::size_t i = 1; i + 1 < n; ++i) {
        if (merges[i].rank < merges[best].rank) best = i;
      }
      if (merges[best].rank == PairTable::kNone) break;
      symbols[best] = merges[best].id;
      std::copy(symbols.begin() + static_cast<std::ptrdiff_t>(best + 2),
                symbols.begin() + static_cast<std::ptrdiff_t>(n),
                symbols.begin() + static_cast<std::ptrdiff_t>(best + 1));
      std::copy(merges + best + 1, merges + n - 1, merges + best);
      --n;
      if (best > 0) merges[best - 1] = merges_.find(symbols[best - 1], symbols[best]);
      if (best + 1 < n) merges[best] = merges_.find(symbols[best], symbols[best + 1]);
    }
  }
  ids.insert(ids.end(), symbols.begin(), symbols.begin() + static_cast<std::ptrdiff_t>(n));
}

// A heap of pairs by (rank, place). An entry whose pair is gone is passed over: the pair there now has another rank.
void BpeEncoder::merge_many(std::span<const int32_t> given, std::vector<int32_t>& ids) const {
  struct Symbol {
    int32_t id;
    std::ptrdiff_t previous, next;  // -1: none; a symbol that was merged into another has id -1
    uint32_t rank;                  // with the next
  };
  const auto n = static_cast<std::ptrdiff_t>(given.size());
  std::vector<Symbol> symbols(given.size());
  using Entry = std::pair<uint32_t, std::ptrdiff_t>;
  std::vector<Entry> entries;
  const auto at = [&](std::ptrdiff_t i) -> Symbol& { return symbols[static_cast<std::size_t>(i)]; };
  for (std::ptrdiff_t i = 0; i < n; ++i) {
    at(i) = {given[static_cast<std::size_t>(i)], i - 1, i + 1 < n ? i + 1 : -1, PairTable::kNone};
  }
  const auto rank_of = [&](std::ptrdiff_t i) {
    Symbol& s = at(i);
    s.rank = s.next < 0 ? PairTable::kNone : merges_.find(s.id, at(s.next).id).rank;
    return s.rank;
  };
  for (std::ptrdiff_t i = 0; i < n; ++i) {
    if (rank_of(i) != PairTable::kNone) entries.emplace_back(at(i).rank, i);
  }
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue(std::greater<>{}, std::move(entries));
  while (!queue.empty()) {
    const auto [rank, i] = queue.top();
    queue.pop();
    if (at(i).id < 0 || at(i).rank != rank) continue;
    const std::ptrdiff_t right = at(i).next;
    at(i).id = merges_.find(at(i).id, at(right).id).id;
    at(i).next = at(right).next;
    at(right).id = -1;
    if (at(i).next >= 0) at(at(i).next).previous = i;
    for (const std::ptrdiff_t changed : {i, at(i).previous}) {
      if (changed >= 0 && rank_of(changed) != PairTable::kNone) queue.emplace(at(changed).rank, changed);
    }
  }
  for (std::ptrdiff_t i = n > 0 ? 0 : -1; i >= 0; i = at(i).next) ids.push_back(at(i).id);
}

}  // namespace gradus::lm
