#include "gradus/lm/tokenizer/part_reader.h"

#include <nlohmann/json.hpp>

#include "gradus/core/error.h"
#include "gradus/core/json.h"
#include "gradus/lm/tokenizer/utf8.h"

namespace gradus::lm {

namespace {

using nlohmann::json;

constexpr std::size_t kMostSteps = 64;  // of a chain; published files have at most 6

}  // namespace

void PartReader::corrupt(std::string_view fact) const {
  fail(ErrorCode::corrupt, "{}: {}", origin_, fact);
}

void PartReader::unsupported(std::string_view what) const {
  fail(ErrorCode::unsupported, "unsupported: {} has {}", origin_, what);
}

const json* PartReader::find(const json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

std::string PartReader::type_of(const json& part) {
  const json* type = find(part, "type");
  return type != nullptr && type->is_string() ? type->get<std::string>() : "";
}

bool PartReader::flag_or(const json& part, const char* key, bool other) const {
  const json* value = find(part, key);
  if (value == nullptr) return other;
  if (!value->is_boolean()) corrupt(fmt::format("{} is not true or false", key));
  return value->get<bool>();
}

std::string PartReader::text_or(const json& part, const char* key, std::string_view other) const {
  const json* value = find(part, key);
  if (value == nullptr) return std::string(other);
  if (!value->is_string()) corrupt(fmt::format("{} is not a text", key));
  return value->get<std::string>();
}

const json& PartReader::member(const json& part, const char* key) const {
  const json* value = find(part, key);
  if (value == nullptr) corrupt(fmt::format("a {} has no {}", quote_text(type_of(part)), key));
  return *value;
}

const json& PartReader::list(const json& part, const char* key) const {
  const json& value = member(part, key);
  if (!value.is_array()) corrupt(fmt::format("{} is not a list", key));
  return value;
}

std::size_t PartReader::count(const json& part, const char* key) const {
  const json& value = member(part, key);
  if (!value.is_number_unsigned()) corrupt(fmt::format("{} is not a whole number", key));
  return value.get<std::size_t>();
}

std::string PartReader::character(const json& part, const char* key) const {
  std::string text = text_or(part, key, "");
  if (text.empty() || static_cast<std::size_t>(decode_utf8(text).n_bytes) != text.size())
    corrupt(fmt::format("{} {} is not one character", key, quote_text(text)));
  return text;
}

// An empty text is found at every place, as the empty expression is.
std::variant<std::string, Regex> PartReader::pattern(const json& part) const {
  const json& value = member(part, "pattern");
  const json* text = find(value, "String");
  const json* regex = find(value, "Regex");
  const json* given = text != nullptr ? text : regex;
  if (given == nullptr || !given->is_string()) corrupt("a pattern is neither a String nor a Regex");
  const auto& pattern = given->get_ref<const std::string&>();
  if (text != nullptr && !pattern.empty()) return pattern;
  return Regex(pattern, origin_);
}

SplitBehavior PartReader::behavior(const json& part) const {
  const std::string name = text_or(part, "behavior", "Isolated");
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  corrupt(fmt::format("{} is no behavior of a split", quote_text(name)));
}

PrependScheme PartReader::prepend_scheme(const json& part) const {
  if (!flag_or(part, "add_prefix_space", true)) return PrependScheme::never;  // of old versions
  const std::string name = text_or(part, "prepend_scheme", "always");
  if (name == "always") return PrependScheme::always;
  if (name == "first") return PrependScheme::first;
  if (name == "never") return PrependScheme::never;
  corrupt(fmt::format("{} is no prepend_scheme", quote_text(name)));
}

void PartReader::check_steps(std::size_t n) const {
  if (n > kMostSteps) unsupported(fmt::format("a chain of more than {} steps", kMostSteps));
}

void PartReader::add_normalizers(const json& part, Normalizer& out) const {
  const std::string type = type_of(part);
  if (type == "Sequence") {
    for (const json& step : list(part, "normalizers")) add_normalizers(step, out);
  } else if (type == "NFC" || type == "NFKC") {
    out.steps.emplace_back(NormalForm{.compatible = type == "NFKC"});
  } else if (type == "Lowercase") {
    out.steps.emplace_back(Lowercase{});
  } else if (type == "Replace") {
    out.steps.emplace_back(Replacement{pattern(part), text_or(part, "content", "")});
  } else if (type == "Prepend") {
    out.steps.emplace_back(Prepend{text_or(part, "prepend", "")});
  } else if (type == "Strip") {
    out.steps.emplace_back(StripSpace{flag_or(part, "strip_left", false), flag_or(part, "strip_right", false)});
  } else {
    unsupported(fmt::format("a normalizer {}", quote_text(type)));
  }
  check_steps(out.steps.size());
}

void PartReader::add_pre_tokenizers(const json& part, PreTokenizer& out) const {
  const std::string type = type_of(part);
  if (type == "Sequence") {
    for (const json& step : list(part, "pretokenizers")) add_pre_tokenizers(step, out);
  } else if (type == "Split") {
    SplitAt split{.pattern = {}, .behavior = behavior(part), .invert = flag_or(part, "invert", false)};
    const json* regex = find(member(part, "pattern"), "Regex");
    const auto by_hand = regex != nullptr && regex->is_string() ? word_pattern(regex->get_ref<const std::string&>())
                                                                : std::optional<WordPattern>();
    if (by_hand && split.behavior == SplitBehavior::isolated && !split.invert) {
      split.pattern = *by_hand;
    } else {
      std::visit([&](auto given) { split.pattern = std::move(given); }, pattern(part));
    }
    out.steps.emplace_back(std::move(split));
  } else if (type == "ByteLevel") {
    out.steps.emplace_back(ToByteLevel{flag_or(part, "add_prefix_space", true), flag_or(part, "use_regex", true)});
  } else if (type == "Digits") {
    out.steps.emplace_back(SplitDigits{flag_or(part, "individual_digits", false)});
  } else if (type == "Metaspace") {
    out.steps.emplace_back(
        Metaspace{character(part, "replacement"), prepend_scheme(part), flag_or(part, "split", true)});
  } else if (type == "Punctuation") {
    out.steps.emplace_back(SplitPunctuation{behavior(part)});
  } else if (type == "Whitespace" || type == "WhitespaceSplit") {
    out.steps.emplace_back(SplitWhitespace{.keep_words_whole = type == "WhitespaceSplit"});
  } else {
    unsupported(fmt::format("a pre_tokenizer {}", quote_text(type)));
  }
  check_steps(out.steps.size());
}

void PartReader::add_decoders(const json& part, Decoder& out) const {
  const std::string type = type_of(part);
  if (type == "Sequence") {
    for (const json& step : list(part, "decoders")) add_decoders(step, out);
  } else if (type == "ByteLevel") {
    out.steps.emplace_back(FromByteLevel{});
  } else if (type == "ByteFallback") {
    out.steps.emplace_back(FromByteFallback{});
  } else if (type == "Fuse") {
    out.steps.emplace_back(Fuse{});
  } else if (type == "Replace") {
    out.steps.emplace_back(Replacement{pattern(part), text_or(part, "content", "")});
  } else if (type == "Strip") {
    out.steps.emplace_back(StripCharacter{character(part, "content"), count(part, "start"), count(part, "stop")});
  } else if (type == "Metaspace") {
    out.steps.emplace_back(FromMetaspace{character(part, "replacement"), prepend_scheme(part) != PrependScheme::never});
  } else {
    unsupported(fmt::format("a decoder {}", quote_text(type)));
  }
  check_steps(out.steps.size());
}

Normalizer PartReader::normalizer(const json* part) const {
  Normalizer out;
  if (part != nullptr) add_normalizers(*part, out);
  return out;
}

PreTokenizer PartReader::pre_tokenizer(const json* part) const {
  PreTokenizer out;
  if (part != nullptr) add_pre_tokenizers(*part, out);
  return out;
}

Decoder PartReader::decoder(const json* part) const {
  Decoder out{.joins_with_spaces = part == nullptr, .steps = {}};
  if (part != nullptr) add_decoders(*part, out);
  return out;
}

void PartReader::post_processor(const json* part, int64_t n_vocab, TokenizerParts& parts) const {
  if (part == nullptr) return;
  const std::string type = type_of(*part);
  if (type == "Sequence") {
    for (const json& step : list(*part, "processors")) post_processor(&step, n_vocab, parts);
  } else if (type == "TemplateProcessing") {
    add_template(*part, n_vocab, parts);
  } else if (type != "ByteLevel") {  // that one is about offsets in the text alone
    unsupported(fmt::format("a post_processor {}", quote_text(type)));
  }
}

// Around what is around the text already.
void PartReader::add_template(const json& part, int64_t n_vocab, TokenizerParts& parts) const {
  std::vector<int32_t> before, after;
  bool has_text = false;
  const json& special = member(part, "special_tokens");
  for (const json& piece : list(part, "single")) {
    if (const json* sequence = find(piece, "Sequence")) {
      if (has_text || text_or(*sequence, "id", "") != "A") unsupported("a template with another text than one A");
      has_text = true;
      continue;
    }
    const json* token = find(piece, "SpecialToken");
    if (token == nullptr) corrupt("a template's piece is neither a Sequence nor a SpecialToken");
    const std::string name = text_or(*token, "id", "");
    const json* known = find(special, name.c_str());
    if (known == nullptr) corrupt(fmt::format("a template's token {} is not in its special_tokens", quote_text(name)));
    for (const json& id : list(*known, "ids")) {
      if (!id.is_number_unsigned() || id.get<uint64_t>() >= static_cast<uint64_t>(n_vocab))
        corrupt(
            fmt::format("a template's token {} has an id that is not one of the {} tokens", quote_text(name), n_vocab));
      (has_text ? after : before).push_back(id.get<int32_t>());
    }
  }
  if (!has_text) unsupported("a template without the text");
  parts.prefix.insert(parts.prefix.begin(), before.begin(), before.end());
  parts.suffix.insert(parts.suffix.end(), after.begin(), after.end());
  check_steps(parts.prefix.size() + parts.suffix.size());
}

}  // namespace gradus::lm
