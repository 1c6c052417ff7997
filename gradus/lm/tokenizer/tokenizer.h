// Text to token ids and back. The files are Hugging Face's tokenizer.json and tokenizer_config.json: byte-pair
// encodings of any vocabulary are read, and give the ids of the `tokenizers` package (tools/oracle/check_tokenizer.py).
// Tokenizers of single characters or bytes can be made here, others trained (bpe_training.h).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gradus/lm/tokenizer/decoder.h"

namespace gradus::lm {

struct TokenizerParts;

// What makes a tokenizer without merges: its tokens, the id of each being its place.
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

// Bytes [begin, end) of a text.
struct Span {
  std::size_t begin = 0, end = 0;
  bool operator==(const Span&) const = default;
};

struct EncodeOptions {
  // A special token spelled out in the text is text like any other: for what a user wrote. (A token that was added to
  // the vocabulary and is not special becomes its id all the same, as in `tokenizers`.)
  bool special_as_text = false;
  // The same for special tokens that touch one of these parts of the text; ascending. The words are cut across their
  // borders as they are without them.
  std::span<const Span> text_only{};
  // With the tokens that the file's post-processor puts around a text, such as a first <s>.
  bool add_special = false;
};

struct DecodeOptions {
  bool skip_special = false;
  // Bytes that are no UTF-8 become U+FFFD, as in `tokenizers`; without it they come out as they are.
  bool replace_invalid = false;
};

// A value: copies are equal and independent, and share what never changes. Threads may share one.
class Tokenizer {
 public:
  // Throws invalid_argument when tokens repeat, are empty or not UTF-8, a token that is not special has more than one
  // character or, on byte level, is no byte's, a byte has no token, or an id is out of range or not special where it
  // must be.
  explicit Tokenizer(Vocabulary vocabulary);

  // A special token spelled out in the text becomes its id, as in `tokenizers`. On byte level any bytes are a text:
  // what is not UTF-8 is cut out and encoded byte by byte. Otherwise throws invalid_argument, naming the character and
  // its position (in characters, from 0), when one is not in the vocabulary and the file has no way to spell it, or the
  // byte where the text is not UTF-8. Throws exhausted when an expression of the file takes too long on this text.
  std::vector<int32_t> encode(std::string_view text, EncodeOptions options = {}) const;

  // Throws invalid_argument when an id is not in [0, n_vocab).
  std::string decode(std::span<const int32_t> ids, DecodeOptions options = {}) const;

  int64_t n_vocab() const;
  int32_t eos_id() const;
  int32_t pad_id() const;
  std::optional<int32_t> bos_id() const;  // where tokenizer_config.json names one

  // Whether every token that is not special stands for a byte, and there are no merges.
  bool is_byte_level() const;
  const std::array<int32_t, 256>& byte_ids() const;  // of each byte, then

  const std::string& token(
      int32_t id) const;  // as the vocabulary has it; throws invalid_argument when the id is not in [0, n_vocab)
  std::optional<int32_t> id_of(std::string_view token) const;
  bool is_special(int32_t id) const;  // false for an id that is none
  Vocabulary vocabulary() const;

  bool operator==(const Tokenizer& other) const;  // reads and writes alike; the files' texts may differ

 private:
  struct State;
  explicit Tokenizer(TokenizerParts parts, std::string_view origin);
  friend Tokenizer parse_tokenizer_json(std::string_view, std::string_view, std::string_view);
  friend std::string tokenizer_json(const Tokenizer&);
  friend std::string tokenizer_config_json(const Tokenizer&);
  friend class StreamDecoder;

  // A part of what is encoded; `at` is its place in the whole.
  struct Request {
    std::string_view whole;
    const EncodeOptions& options;
    std::vector<int32_t>& ids;
  };
  void encode_valid(const Request& r, std::string_view text, std::size_t at) const;
  void encode_between(const Request& r, std::string_view text, std::size_t at) const;
  void encode_words(const Request& r, std::string_view text, bool starts_at_start) const;

  std::shared_ptr<const State> state_;
};

// A text that comes one token after the other. What push and finish return, one after the other, is what decode makes
// of all the ids at once; text comes out as soon as nothing that may follow changes it, in whole characters.
class StreamDecoder {
 public:
  explicit StreamDecoder(Tokenizer tokenizer, DecodeOptions options = {});

  std::string push(int32_t id);  // throws invalid_argument when the id is not in [0, n_vocab)
  std::string finish();          // after the last id

 private:
  Tokenizer tokenizer_;
  DecodeOptions options_;
  DecoderChain chain_;
};

// Ids in the order of the alphabet's characters (all different); then eos, unless it is one of them, which then keeps
// its place and becomes special; then pad, likewise. character_tokenizer("01#>=$", "$"): '0' = 0, ..., '$' = eos = 5,
// "<pad>" = 6. Throws invalid_argument on an empty alphabet, a character there twice, invalid UTF-8, eos equal to pad,
// or an empty eos or pad.
Tokenizer character_tokenizer(std::string_view alphabet_utf8, std::string_view eos, std::string_view pad = "<pad>");

// The id of a byte is its value; eos, which also pads, is 256. Throws invalid_argument when eos is empty, not UTF-8, or
// the name of a byte.
Tokenizer byte_tokenizer(std::string_view eos = "<|endoftext|>");

// The text of tokenizer.json: the very text that it was read from; else a BPE model without merges, so that a token is
// a character, or a byte behind the pre-tokenizer and decoder "ByteLevel", and special tokens as added tokens.
std::string tokenizer_json(const Tokenizer& tokenizer);

// The text of tokenizer_config.json, which tells `transformers` the end and padding tokens; likewise.
std::string tokenizer_config_json(const Tokenizer& tokenizer);

// `config_text` is the text of tokenizer_config.json: it names the first, the end and the padding token; where it names
// no end they are the first and the second special token in order of id. `origin` names the source in errors. Throws
// corrupt when a text is not JSON or its fields contradict each other, and unsupported, naming what, for kinds of parts
// that are not read. What the package has for training and batches (dropout of 0, truncation, padding) is passed over.
Tokenizer parse_tokenizer_json(std::string_view text, std::string_view origin, std::string_view config_text = {});

}  // namespace gradus::lm
