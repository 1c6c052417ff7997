// tokenizer.json and tokenizer_config.json. Format: the `tokenizers` package's Tokenizer.to_str, version "1.0".
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "gradus/core/error.h"
#include "gradus/core/json.h"
#include "gradus/lm/tokenizer/byte_characters.h"
#include "gradus/lm/tokenizer/tokenizer.h"

namespace gradus::lm {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

bool is_true(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_boolean() && it->get<bool>();
}

bool is_absent(const json& object, const char* key) {
  const auto it = object.find(key);
  return it == object.end() || it->is_null();
}

// "'NFC'", or "" for a part that does not name its type.
std::string type_of(const json& part) {
  const auto it = part.is_object() ? part.find("type") : part.end();
  return it != part.end() && it->is_string() ? it->get<std::string>() : "";
}

class TokenizerReader {
 public:
  explicit TokenizerReader(std::string_view origin) : origin_(origin) {}

  Tokenizer read(const json& document, std::string_view config_text) {
    if (!document.is_object()) corrupt("is not a JSON object");
    check_parts(document);
    Vocabulary v;
    v.byte_level = is_byte_level(document);
    read_model(document);
    read_added_tokens(document);
    for (auto& [id, token] : tokens_) {
      if (id != static_cast<int32_t>(v.tokens.size())) corrupt(fmt::format("has no token of id {}", v.tokens.size()));
      if (!token.is_special && !is_single_character(token.text)) {
        unsupported(fmt::format("has the token {} of several characters, but no merges", quote_text(token.text)));
      }
      if (v.byte_level && !token.is_special && !byte_of_character(token.text)) {
        unsupported(fmt::format("has the token {} that stands for no byte", quote_text(token.text)));
      }
      if (token.is_special) v.special_ids.push_back(id);
      v.tokens.push_back(std::move(token.text));
    }
    if (v.byte_level && v.tokens.size() - v.special_ids.size() != 256) {
      unsupported(fmt::format("has tokens for {} of the 256 bytes", v.tokens.size() - v.special_ids.size()));
    }
    choose_eos_and_pad(v, config_text);
    return Tokenizer(std::move(v));
  }

 private:
  struct Token {
    std::string text;
    bool is_special = false;
  };

  [[noreturn]] void corrupt(std::string_view fact) const { fail(ErrorCode::corrupt, "{}: {}", origin_, fact); }
  [[noreturn]] void unsupported(std::string_view fact) const {
    fail(ErrorCode::unsupported,
         "unsupported: {} {}; only tokenizers of single characters or bytes (BPE without merges) can be read", origin_,
         fact);
  }

  static bool is_single_character(std::string_view text) {
    return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }) ==
           1;  // parse_json checked the UTF-8
  }

  void check_parts(const json& document) const {
    const auto model = document.find("model");
    if (model == document.end() || !model->is_object()) corrupt("has no model");
    const std::string type = type_of(*model);
    if (type != "BPE") unsupported(fmt::format("has model type {}", quote_text(type)));
    for (const char* part : {"truncation", "normalizer", "post_processor"}) {
      if (!is_absent(document, part))
        unsupported(fmt::format("has a {} {}", part, quote_text(type_of(document[part]))));
    }
    if (model->contains("merges") && (!(*model)["merges"].is_array() || !(*model)["merges"].empty()))
      unsupported("has BPE merges");
    for (const char* option : {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"}) {
      if (is_absent(*model, option)) continue;
      const json& value = (*model)[option];
      const bool is_empty_text = value.is_string() && value.get_ref<const std::string&>().empty();
      if (!is_empty_text) unsupported(fmt::format("has the model option {}", option));
    }
    if (is_true(*model, "byte_fallback")) unsupported("has the model option byte_fallback");
  }

  // How text is cut and put together again: by characters, or by bytes. Into which words "ByteLevel" would cut
  // (use_regex) makes no difference without merges.
  bool is_byte_level(const json& document) const {
    if (is_absent(document, "decoder")) unsupported("has no decoder 'Fuse' or 'ByteLevel'");
    const std::string decoder = type_of(document["decoder"]);
    if (is_absent(document, "pre_tokenizer")) {
      if (decoder != "Fuse") unsupported(fmt::format("has a decoder {} without a pre_tokenizer", quote_text(decoder)));
      return false;
    }
    const json& part = document["pre_tokenizer"];
    if (type_of(part) != "ByteLevel" || decoder != "ByteLevel") {
      unsupported(
          fmt::format("has a pre_tokenizer {} and a decoder {}", quote_text(type_of(part)), quote_text(decoder)));
    }
    if (!part.contains("add_prefix_space") || part["add_prefix_space"] != false) {
      unsupported("has a pre_tokenizer that adds a space (add_prefix_space)");
    }
    return true;
  }

  int32_t id_from(const json& value, std::string_view token) const {
    if (!value.is_number_unsigned() || value.get<uint64_t>() > static_cast<uint64_t>(INT32_MAX)) {
      corrupt(fmt::format("token {} has an id that is not a whole number below 2^31", quote_text(token)));
    }
    return value.get<int32_t>();
  }

  void read_model(const json& document) {
    const json& model = document["model"];
    if (!model.contains("vocab") || !model["vocab"].is_object()) corrupt("has no vocab");
    for (const auto& [text, id] : model["vocab"].items()) {
      if (text.empty()) corrupt("has an empty token");
      const auto [it, inserted] = tokens_.emplace(id_from(id, text), Token{text});
      if (!inserted)
        corrupt(fmt::format("tokens {} and {} have the same id {}", quote_text(it->second.text), quote_text(text),
                            it->first));
      ids_.emplace(text, it->first);
    }
  }

  void read_added_tokens(const json& document) {
    if (is_absent(document, "added_tokens")) return;
    const json& added = document["added_tokens"];
    if (!added.is_array()) corrupt("has added_tokens that are not a list");
    for (const json& token : added) {
      if (!token.is_object() || !token.contains("id") || !token.contains("content") || !token["content"].is_string()) {
        corrupt("has an added token without id or content");
      }
      const auto text = token["content"].get<std::string>();
      const int32_t id = id_from(token["id"], text);
      if (text.empty()) corrupt("has an empty token");
      if (!is_true(token, "special"))
        unsupported(fmt::format("has the added token {} that is not special", quote_text(text)));
      for (const char* option : {"single_word", "lstrip", "rstrip"}) {
        if (is_true(token, option))
          unsupported(fmt::format("has the added token {} with {}", quote_text(text), option));
      }
      if (!ids_.emplace(text, id).second && ids_.at(text) != id) {
        corrupt(fmt::format("token {} has two ids, {} and {}", quote_text(text), ids_.at(text), id));
      }
      Token& place = tokens_.emplace(id, Token{text}).first->second;
      if (place.text != text)
        corrupt(fmt::format("tokens {} and {} have the same id {}", quote_text(place.text), quote_text(text), id));
      place.is_special = true;
    }
  }

  void choose_eos_and_pad(Vocabulary& v, std::string_view config_text) const {
    if (config_text.empty()) {
      if (v.special_ids.empty()) corrupt("has no special token that could end an answer");
      v.eos_id = v.special_ids.front();
      v.pad_id = v.special_ids.size() > 1 ? v.special_ids[1] : v.eos_id;
      return;
    }
    const json config = parse_json(config_text, fmt::format("{} (its tokenizer_config.json)", origin_));
    if (!config.is_object()) corrupt("its tokenizer_config.json is not a JSON object");
    const std::optional<int32_t> eos = token_named_by(config, "eos_token");
    if (!eos) corrupt("its tokenizer_config.json names no eos_token");
    v.eos_id = *eos;
    v.pad_id = token_named_by(config, "pad_token").value_or(*eos);
  }

  std::optional<int32_t> token_named_by(const json& config, const char* key) const {
    if (is_absent(config, key)) return std::nullopt;
    const json& value = config[key];
    const json& text = value.is_object() && value.contains("content") ? value["content"] : value;
    if (!text.is_string()) corrupt(fmt::format("its tokenizer_config.json has a {} that is not a text", key));
    const auto found = ids_.find(text.get_ref<const std::string&>());
    if (found == ids_.end() || !tokens_.at(found->second).is_special) {
      corrupt(fmt::format("its tokenizer_config.json has the {} {}, which is not a special token", key,
                          quote_text(text.get_ref<const std::string&>())));
    }
    return found->second;
  }

  std::string_view origin_;
  std::map<int32_t, Token> tokens_;
  std::map<std::string, int32_t> ids_;
};

}  // namespace

std::string tokenizer_json(const Tokenizer& tokenizer) {
  const Vocabulary& v = tokenizer.vocabulary();
  ordered_json added = ordered_json::array();
  for (int32_t id : v.special_ids) {
    added.push_back({{"id", id},
                     {"content", tokenizer.token(id)},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  ordered_json vocab = ordered_json::object();
  auto& entries = vocab.get_ref<ordered_json::object_t&>();
  // push_back: ordered_json looks for an equal key from the start at each [], and tokens are all different.
  for (std::size_t i = 0; i < v.tokens.size(); ++i) entries.push_back({v.tokens[i], i});

  ordered_json model;
  model["type"] = "BPE";
  for (const char* option : {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"})
    model[option] = nullptr;
  for (const char* option : {"fuse_unk", "byte_fallback", "ignore_merges"}) model[option] = false;
  model["vocab"] = std::move(vocab);
  model["merges"] = ordered_json::array();

  ordered_json document;
  document["version"] = "1.0";
  document["truncation"] = nullptr;
  document["padding"] = nullptr;
  document["added_tokens"] = std::move(added);
  for (const char* part : {"normalizer", "pre_tokenizer", "post_processor"}) document[part] = nullptr;
  document["decoder"] = {{"type", "Fuse"}};
  if (tokenizer.is_byte_level()) {
    const auto byte_level = [](bool option) {  // a decoder has the options, too, but does not use them
      return ordered_json{
          {"type", "ByteLevel"}, {"add_prefix_space", option}, {"trim_offsets", true}, {"use_regex", option}};
    };
    document["pre_tokenizer"] = byte_level(false);
    document["decoder"] = byte_level(true);
  }
  document["model"] = std::move(model);
  return write_json(document, 2) + "\n";
}

std::string tokenizer_config_json(const Tokenizer& tokenizer) {
  ordered_json document;
  document["tokenizer_class"] = "PreTrainedTokenizerFast";
  document["clean_up_tokenization_spaces"] = false;
  document["eos_token"] = tokenizer.token(tokenizer.eos_id());
  document["pad_token"] = tokenizer.token(tokenizer.pad_id());
  return write_json(document, 2) + "\n";
}

Tokenizer parse_tokenizer_json(std::string_view text, std::string_view origin, std::string_view config_text) {
  return TokenizerReader(origin).read(parse_json(text, origin), config_text);
}

}  // namespace gradus::lm
