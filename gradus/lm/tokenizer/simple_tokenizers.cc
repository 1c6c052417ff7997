// Tokenizers of single characters and of bytes.
#include <algorithm>
#include <set>

#include "gradus/core/error.h"
#include "gradus/core/json.h"
#include "gradus/lm/tokenizer/byte_characters.h"
#include "gradus/lm/tokenizer/tokenizer.h"
#include "gradus/lm/tokenizer/tokenizer_parts.h"
#include "gradus/lm/tokenizer/utf8.h"

namespace gradus::lm {

namespace {

void require_utf8(std::string_view text, std::string_view operation) {
  const std::size_t at = find_invalid_utf8(text);
  require(at == std::string_view::npos, "{}: the text is not valid UTF-8 at byte {}", operation, at);
}

// How many characters the token has, which is UTF-8.
auto n_characters(std::string_view token) {
  return std::count_if(token.begin(), token.end(), [](char c) { return (c & 0xC0) != 0x80; });
}

void require_bytes(const std::vector<std::string>& tokens, const std::set<int32_t>& special) {
  std::set<uint8_t> found;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (special.contains(static_cast<int32_t>(i))) continue;
    const std::optional<uint8_t> byte = byte_of_character(tokens[i]);
    require(byte.has_value(), "tokenizer: token {} {} stands for no byte and is not special", i, quote_text(tokens[i]));
    found.insert(*byte);
  }
  for (int byte = 0; byte < 256; ++byte) {
    require(found.contains(static_cast<uint8_t>(byte)), "tokenizer: no token stands for the byte {:#04x}", byte);
  }
}

}  // namespace

TokenizerParts parts_of(const Vocabulary& v) {
  const auto n_vocab = static_cast<int64_t>(v.tokens.size());
  require(n_vocab > 0 && n_vocab <= INT32_MAX, "tokenizer: {} tokens, but 1 to 2^31-1 are possible", n_vocab);
  const std::set<int32_t> special(v.special_ids.begin(), v.special_ids.end());
  require(special.empty() || (*special.begin() >= 0 && *special.rbegin() < n_vocab),
          "tokenizer: special ids {} to {} are not all below the {} tokens", special.empty() ? 0 : *special.begin(),
          special.empty() ? 0 : *special.rbegin(), n_vocab);
  std::map<std::string_view, std::size_t> places;
  for (std::size_t i = 0; i < v.tokens.size(); ++i) {
    require(!v.tokens[i].empty(), "tokenizer: token {} is empty", i);
    require_utf8(v.tokens[i], "tokenizer");
    const auto [earlier, inserted] = places.emplace(v.tokens[i], i);
    require(inserted, "tokenizer: {} is there twice, as token {} and {}", quote_text(v.tokens[i]), earlier->second, i);
    require(v.byte_level || special.contains(static_cast<int32_t>(i)) || n_characters(v.tokens[i]) == 1,
            "tokenizer: token {} {} has more than one character and is not special", i, quote_text(v.tokens[i]));
  }
  if (v.byte_level) require_bytes(v.tokens, special);
  require(special.contains(v.eos_id), "tokenizer: the end token's id {} is not that of a special token", v.eos_id);
  require(special.contains(v.pad_id), "tokenizer: the padding token's id {} is not that of a special token", v.pad_id);

  TokenizerParts parts;
  parts.bpe.tokens = v.tokens;
  for (const int32_t id : special) {
    parts.added.push_back({.id = id, .content = v.tokens[static_cast<std::size_t>(id)], .special = true});
  }
  if (v.byte_level) {
    parts.pre_tokenizer.steps = {ToByteLevel{.add_prefix_space = false, .use_regex = false}};
    parts.decoder.steps = {FromByteLevel{}};
  } else {
    parts.decoder.steps = {Fuse{}};
  }
  parts.eos_id = v.eos_id;
  parts.pad_id = v.pad_id;
  return parts;
}

Tokenizer character_tokenizer(std::string_view alphabet_utf8, std::string_view eos, std::string_view pad) {
  require(!alphabet_utf8.empty(), "tokenizer: the alphabet is empty");
  require(!eos.empty() && !pad.empty() && eos != pad,
          "tokenizer: the end token {} and the padding token {} must differ and not be empty", quote_text(eos),
          quote_text(pad));
  require_utf8(alphabet_utf8, "tokenizer: alphabet");

  Vocabulary v;
  for (std::size_t at = 0; at < alphabet_utf8.size();) {
    const auto n_bytes = static_cast<std::size_t>(decode_utf8(alphabet_utf8.substr(at)).n_bytes);
    v.tokens.emplace_back(alphabet_utf8.substr(at, n_bytes));
    at += n_bytes;
  }
  const auto add_special = [&](std::string_view token) {
    auto place = std::find(v.tokens.begin(), v.tokens.end(), token);
    if (place == v.tokens.end()) place = v.tokens.emplace(v.tokens.end(), token);
    const auto id = static_cast<int32_t>(place - v.tokens.begin());
    v.special_ids.push_back(id);
    return id;
  };
  v.eos_id = add_special(eos);
  v.pad_id = add_special(pad);
  return Tokenizer(std::move(v));
}

Tokenizer byte_tokenizer(std::string_view eos) {
  Vocabulary v;
  for (int byte = 0; byte < 256; ++byte) v.tokens.push_back(byte_character(static_cast<uint8_t>(byte)));
  v.tokens.emplace_back(eos);
  v.special_ids = {256};
  v.eos_id = v.pad_id = 256;
  v.byte_level = true;
  return Tokenizer(std::move(v));
}

}  // namespace gradus::lm
