// The parts of tokenizer.json beside the vocabulary: normalizer, pre-tokenizer, decoder, post-processor. For the reader
// of the file alone.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "gradus/lm/tokenizer/tokenizer_parts.h"

namespace gradus::lm {

class PartReader {
 protected:
  explicit PartReader(std::string_view origin) : origin_(origin) {}

  // Each takes the JSON of a part, nullptr for none. Throws unsupported, naming it, for a kind that is not read.
  Normalizer normalizer(const nlohmann::json* part) const;
  PreTokenizer pre_tokenizer(const nlohmann::json* part) const;
  Decoder decoder(const nlohmann::json* part) const;
  // Puts what it sets around a text into `parts`.
  void post_processor(const nlohmann::json* part, int64_t n_vocab, TokenizerParts& parts) const;

  [[noreturn]] void corrupt(std::string_view fact) const;      // "ORIGIN: FACT"
  [[noreturn]] void unsupported(std::string_view what) const;  // "unsupported: ORIGIN has WHAT"
  std::string_view origin() const { return origin_; }

  // The member, nullptr when it is missing or null.
  static const nlohmann::json* find(const nlohmann::json& object, const char* key);
  static std::string type_of(const nlohmann::json& part);  // "" for a part that does not name its type
  bool flag_or(const nlohmann::json& part, const char* key, bool other) const;
  std::string text_or(const nlohmann::json& part, const char* key, std::string_view other) const;

 private:
  void add_normalizers(const nlohmann::json& part, Normalizer& out) const;
  void add_pre_tokenizers(const nlohmann::json& part, PreTokenizer& out) const;
  void add_decoders(const nlohmann::json& part, Decoder& out) const;
  void add_template(const nlohmann::json& part, int64_t n_vocab, TokenizerParts& parts) const;
  const nlohmann::json& member(const nlohmann::json& part, const char* key) const;  // throws corrupt when missing
  const nlohmann::json& list(const nlohmann::json& part, const char* key) const;
  std::size_t count(const nlohmann::json& part, const char* key) const;
  std::variant<std::string, Regex> pattern(const nlohmann::json& part) const;
  SplitBehavior behavior(const nlohmann::json& part) const;
  PrependScheme prepend_scheme(const nlohmann::json& part) const;
  std::string character(const nlohmann::json& part, const char* key) const;
  void check_steps(std::size_t n) const;

  std::string_view origin_;
};

}  // namespace gradus::lm
