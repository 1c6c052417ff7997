#include "gradus/lm/tokenizer/tokenizer.h"

#include <algorithm>

#include "gradus/core/error.h"
#include "gradus/core/json.h"
#include "gradus/lm/tokenizer/byte_characters.h"
#include "gradus/lm/tokenizer/utf8.h"

namespace gradus::lm {

namespace {

// The only character of a token, or nothing when it has none, several, or is not UTF-8.
std::optional<char32_t> single_character(std::string_view token) {
  if (token.empty()) return std::nullopt;
  const CodePoint c = decode_utf8(token);
  if (c.n_bytes == 0 || static_cast<std::size_t>(c.n_bytes) != token.size()) return std::nullopt;
  return c.value;
}

// Where the text stops being UTF-8, or npos.
std::size_t find_invalid_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = decode_utf8(text.substr(at));
    if (c.n_bytes == 0) return at;
    at += static_cast<std::size_t>(c.n_bytes);
  }
  return std::string_view::npos;
}

void require_utf8(std::string_view text, std::string_view operation) {
  const std::size_t at = find_invalid_utf8(text);
  require(at == std::string_view::npos, "{}: the text is not valid UTF-8 at byte {}", operation, at);
}

}  // namespace

Tokenizer::Tokenizer(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {
  const auto& tokens = vocabulary_.tokens;
  require(!tokens.empty() && tokens.size() <= INT32_MAX, "tokenizer: {} tokens, but 1 to 2^31-1 are possible",
          tokens.size());

  auto& special = vocabulary_.special_ids;
  std::sort(special.begin(), special.end());
  special.erase(std::unique(special.begin(), special.end()), special.end());
  require(special.empty() || (special.front() >= 0 && special.back() < n_vocab()),
          "tokenizer: special ids {} to {} are not all below the {} tokens", special.empty() ? 0 : special.front(),
          special.empty() ? 0 : special.back(), n_vocab());

  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    require(!tokens[i].empty(), "tokenizer: token {} is empty", id);
    require_utf8(tokens[i], "tokenizer");
    const auto [earlier, inserted] = ids_.emplace(tokens[i], id);
    if (!inserted) {
      fail(ErrorCode::invalid_argument, "tokenizer: {} is there twice, as token {} and {}", quote_text(tokens[i]),
           earlier->second, id);
    }
  }
  vocabulary_.byte_level ? take_bytes() : take_characters();
  std::stable_sort(longest_first_.begin(), longest_first_.end(), [&](int32_t a, int32_t b) {
    return tokens[static_cast<std::size_t>(a)].size() > tokens[static_cast<std::size_t>(b)].size();
  });
  require(is_special(eos_id()), "tokenizer: the end token's id {} is not that of a special token", eos_id());
  require(is_special(pad_id()), "tokenizer: the padding token's id {} is not that of a special token", pad_id());
}

void Tokenizer::take_characters() {
  for (int32_t id = 0; id < n_vocab(); ++id) {
    const std::optional<char32_t> character = single_character(token(id));
    if (character) {
      characters_.emplace(*character, id);
    } else if (is_special(id)) {
      longest_first_.push_back(id);
    } else {
      fail(ErrorCode::invalid_argument, "tokenizer: token {} {} has more than one character and is not special", id,
           quote_text(token(id)));
    }
  }
}

void Tokenizer::take_bytes() {
  byte_ids_.fill(-1);
  bytes_.resize(vocabulary_.tokens.size());
  for (int32_t id = 0; id < n_vocab(); ++id) {
    if (is_special(id)) {
      longest_first_.push_back(id);
      continue;
    }
    const std::optional<uint8_t> byte = byte_of_character(token(id));
    require(byte.has_value(), "tokenizer: token {} {} stands for no byte and is not special", id,
            quote_text(token(id)));
    byte_ids_[*byte] = id;
    bytes_[static_cast<std::size_t>(id)] = static_cast<char>(*byte);
  }
  const auto missing = std::find(byte_ids_.begin(), byte_ids_.end(), -1);
  require(missing == byte_ids_.end(), "tokenizer: no token stands for the byte {:#04x}", missing - byte_ids_.begin());
}

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<int32_t> ids;
  ids.reserve(text.size());
  int64_t position = 0;  // in characters
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view rest = text.substr(at);
    const auto special = std::find_if(longest_first_.begin(), longest_first_.end(), [&](int32_t id) {
      return rest.starts_with(vocabulary_.tokens[static_cast<std::size_t>(id)]);
    });
    if (special != longest_first_.end()) {
      const std::string& found = token(*special);
      ids.push_back(*special);
      at += found.size();
      position += std::count_if(found.begin(), found.end(), [](char c) { return (c & 0xC0) != 0x80; });
      continue;
    }
    if (is_byte_level()) {
      ids.push_back(byte_ids_[static_cast<unsigned char>(text[at++])]);
      continue;
    }
    const CodePoint c = decode_utf8(rest);
    require(c.n_bytes > 0, "encode: the text is not valid UTF-8 at byte {}", at);
    const auto known = characters_.find(c.value);
    if (known == characters_.end()) {
      fail(ErrorCode::invalid_argument,
           "encode: the character {} (U+{:04X}) at position {} is not in the vocabulary of {} tokens",
           quote_text(rest.substr(0, static_cast<std::size_t>(c.n_bytes))), static_cast<uint32_t>(c.value), position,
           n_vocab());
    }
    ids.push_back(known->second);
    at += static_cast<std::size_t>(c.n_bytes);
    ++position;
  }
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, DecodeOptions options) const {
  std::string text;
  for (int32_t id : ids) {
    const std::string& t = token(id);
    if (is_special(id)) {
      if (!options.skip_special) text += t;
    } else if (is_byte_level()) {
      text += bytes_[static_cast<std::size_t>(id)];
    } else {
      text += t;
    }
  }
  return text;
}

const std::string& Tokenizer::token(int32_t id) const {
  require(id >= 0 && id < n_vocab(), "decode: token id {} is not one of the {} tokens", id, n_vocab());
  return vocabulary_.tokens[static_cast<std::size_t>(id)];
}

std::optional<int32_t> Tokenizer::id_of(std::string_view token) const {
  const auto found = ids_.find(std::string(token));
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

bool Tokenizer::is_special(int32_t id) const {
  return std::binary_search(vocabulary_.special_ids.begin(), vocabulary_.special_ids.end(), id);
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
