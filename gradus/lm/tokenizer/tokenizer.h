// Text to token ids and back. Today a token is one character or one byte, or a special token; the files are Hugging
// Face's tokenizer.json and tokenizer_config.json, and the `tokenizers` package encodes from them as we do
// (tools/oracle/check_tokenizer.py).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace gradus::lm {

// What makes a tokenizer: its tokens, the id of each being its place.
struct Vocabulary {
  std::vector<std::string> tokens;  // UTF-8, all different
  std::vector<int32_t>
      special_ids;     // special tokens: any length, found in text before characters are, skipped by decode on demand
  int32_t eos_id = 0;  // ends an answer; a special token
  int32_t pad_id = 0;  // fills a batch; a special token, eos_id when there is no other
  // A token that is not special stands for a byte, by the name that byte_characters.h gives it, and every byte has one.
  bool byte_level = false;

  bool operator==(const Vocabulary&) const = default;
};

struct DecodeOptions {
  bool skip_special = false;
};

// A value: copies are equal and independent. Threads may share one.
class Tokenizer {
 public:
  // Throws invalid_argument when tokens repeat, are empty or not UTF-8, a token that is not special has more than one
  // character or, on byte level, is no byte's, a byte has no token, or an id is out of range or not special where it
  // must be.
  explicit Tokenizer(Vocabulary vocabulary);

  // A special token spelled out in the text becomes its id, as in `tokenizers`. On byte level any bytes are a text.
  // Otherwise throws invalid_argument, naming the character and its position (in characters, from 0), when one is not
  // in the vocabulary, or the byte where the text is not UTF-8.
  std::vector<int32_t> encode(std::string_view text) const;

  // The tokens' texts one after the other: what was encoded, to the byte. Throws invalid_argument when an id is not in
  // [0, n_vocab).
  std::string decode(std::span<const int32_t> ids, DecodeOptions options = {}) const;

  int64_t n_vocab() const { return static_cast<int64_t>(vocabulary_.tokens.size()); }
  int32_t eos_id() const { return vocabulary_.eos_id; }
  int32_t pad_id() const { return vocabulary_.pad_id; }

  bool is_byte_level() const { return vocabulary_.byte_level; }
  const std::array<int32_t, 256>& byte_ids() const { return byte_ids_; }  // of each byte, on byte level

  const std::string& token(
      int32_t id) const;  // as the vocabulary has it; throws invalid_argument when the id is not in [0, n_vocab)
  std::optional<int32_t> id_of(std::string_view token) const;
  bool is_special(int32_t id) const;  // false for an id that is none
  const Vocabulary& vocabulary() const { return vocabulary_; }

  bool operator==(const Tokenizer& other) const { return vocabulary_ == other.vocabulary_; }

 private:
  void take_characters();
  void take_bytes();

  Vocabulary vocabulary_;  // special_ids ascending, no duplicates
  std::unordered_map<std::string, int32_t> ids_;
  std::vector<int32_t> longest_first_;  // special tokens that no character or byte stands for
  std::unordered_map<char32_t, int32_t> characters_;
  std::array<int32_t, 256> byte_ids_{};
  std::string bytes_;  // [n_vocab] on byte level: what a token stands for; of no use for special ones
};

// Ids in the order of the alphabet's characters (all different); then eos, unless it is one of them, which then keeps
// its place and becomes special; then pad, likewise. character_tokenizer("01#>=$", "$"): '0' = 0, ..., '$' = eos = 5,
// "<pad>" = 6. Throws invalid_argument on an empty alphabet, a character there twice, invalid UTF-8, eos equal to pad,
// or an empty eos or pad.
Tokenizer character_tokenizer(std::string_view alphabet_utf8, std::string_view eos, std::string_view pad = "<pad>");

// The id of a byte is its value; eos, which also pads, is 256. Throws invalid_argument when eos is empty, not UTF-8, or
// the name of a byte.
Tokenizer byte_tokenizer(std::string_view eos = "<|endoftext|>");

// The text of tokenizer.json: a BPE model without merges, so that a token is a character, or a byte behind the
// pre-tokenizer and decoder "ByteLevel", and special tokens as added tokens.
std::string tokenizer_json(const Tokenizer& tokenizer);

// The text of tokenizer_config.json, which tells `transformers` the end and padding tokens.
std::string tokenizer_config_json(const Tokenizer& tokenizer);

// Reads what tokenizer_json writes and equal structures. `config_text` is the text of tokenizer_config.json: it names
// the end and the padding token; without it they are the first and the second special token in order of id. `origin`
// names the source in errors. Throws corrupt when a text is not JSON or its fields contradict each other, and
// unsupported, naming what, for other kinds of tokenizer.
Tokenizer parse_tokenizer_json(std::string_view text, std::string_view origin, std::string_view config_text = {});

}  // namespace gradus::lm
