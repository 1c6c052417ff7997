// All that a tokenizer is made of, as tokenizer.json tells it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "gradus/lm/tokenizer/added_tokens.h"
#include "gradus/lm/tokenizer/bpe.h"
#include "gradus/lm/tokenizer/decoder.h"
#include "gradus/lm/tokenizer/normalizer.h"
#include "gradus/lm/tokenizer/pre_tokenizer.h"

namespace gradus::lm {

struct TokenizerParts {
  Bpe bpe{};
  std::vector<AddedToken> added{};  // ascending by id
  Normalizer normalizer{};
  PreTokenizer pre_tokenizer{};
  Decoder decoder{};
  std::vector<int32_t> prefix{}, suffix{};  // what the post-processor puts around a text
  int32_t eos_id = 0, pad_id = 0;
  std::optional<int32_t> bos_id{};
  bool operator==(const TokenizerParts&) const = default;
};

// The parts of a tokenizer without merges.
struct Vocabulary;
TokenizerParts parts_of(const Vocabulary& vocabulary);

// Reads tokenizer.json and tokenizer_config.json (empty: none); see parse_tokenizer_json.
TokenizerParts read_parts(std::string_view text, std::string_view origin, std::string_view config_text);

// The text of tokenizer.json for these parts, of which the pre-tokenizers are ToByteLevel or SplitAt alone.
std::string write_parts(const TokenizerParts& parts);

// The text of tokenizer_config.json, which names the first, the end and the padding token.
std::string write_config(const TokenizerParts& parts);

}  // namespace gradus::lm
