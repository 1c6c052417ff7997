// Reads tokenizer.json and tokenizer_config.json. Format: the `tokenizers` package's Tokenizer.to_str, version "1.0".
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "gradus/core/error.h"
#include "gradus/core/json.h"
#include "gradus/lm/tokenizer/part_reader.h"
#include "gradus/lm/tokenizer/tokenizer_parts.h"
#include "gradus/lm/tokenizer/utf8.h"

namespace gradus::lm {

namespace {

using nlohmann::json;

// Where a long text of one character repeated is searched for such a token, each place takes as many steps as the token
// has bytes.
constexpr std::size_t kLongestAddedToken = 4096;

class TokenizerReader : PartReader {
 public:
  explicit TokenizerReader(std::string_view origin) : PartReader(origin) {}

  TokenizerParts read(const json& document, std::string_view config_text) {
    if (!document.is_object()) corrupt("is not a JSON object");
    const json* model = find(document, "model");
    if (model == nullptr || !model->is_object()) corrupt("has no model");
    TokenizerParts parts;
    read_model(*model, parts.bpe);
    read_added_tokens(find(document, "added_tokens"), parts.added);
    check_ids();
    parts.normalizer = normalizer(find(document, "normalizer"));
    parts.pre_tokenizer = pre_tokenizer(find(document, "pre_tokenizer"));
    parts.decoder = decoder(find(document, "decoder"));
    post_processor(find(document, "post_processor"), static_cast<int64_t>(texts_.size()), parts);
    choose_special_ids(parts, config_text);
    return parts;
  }

 private:
  int32_t id_from(const json& value, std::string_view token) const {
    if (!value.is_number_unsigned() || value.get<uint64_t>() > static_cast<uint64_t>(INT32_MAX)) {
      corrupt(fmt::format("token {} has an id that is not a whole number below 2^31", quote_text(token)));
    }
    return value.get<int32_t>();
  }

  void add(int32_t id, const std::string& text) {
    if (text.empty()) corrupt("has an empty token");
    const auto [known, is_new_text] = ids_.emplace(text, id);
    if (known->second != id)
      corrupt(fmt::format("token {} has two ids, {} and {}", quote_text(text), known->second, id));
    const auto [place, is_new_id] = texts_.emplace(id, text);
    if (place->second != text) {
      corrupt(fmt::format("tokens {} and {} have the same id {}", quote_text(place->second), quote_text(text), id));
    }
  }

  // All ids from 0 on, which also bounds what tables by id take by the size of the file.
  void check_ids() const {
    int32_t next = 0;
    for (const auto& [id, text] : texts_) {
      if (id != next++) corrupt(fmt::format("has no token of id {}", next - 1));
    }
    if (texts_.empty()) corrupt("has no tokens");
  }

  void read_model(const json& model, Bpe& bpe) {
    const json* vocab = find(model, "vocab");
    const json* merges = find(model, "merges");
    // Files of old versions do not name the type of a BPE.
    const bool has_no_type =
        find(model, "type") == nullptr && vocab != nullptr && vocab->is_object() && merges != nullptr;
    if (!has_no_type && type_of(model) != "BPE")
      unsupported(fmt::format("model type {}; only BPE is read", quote_text(type_of(model))));
    if (vocab == nullptr || !vocab->is_object()) corrupt("has no vocab");
    for (const char* option : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      if (!text_or(model, option, "").empty()) unsupported(fmt::format("the model option {}", option));
    }
    if (const json* dropout = find(model, "dropout"); dropout != nullptr && *dropout != 0)
      unsupported("the model option dropout");
    bpe.options.byte_fallback = flag_or(model, "byte_fallback", false);
    bpe.options.fuse_unk = flag_or(model, "fuse_unk", false);
    bpe.options.ignore_merges = flag_or(model, "ignore_merges", false);
    if (const std::string unk = text_or(model, "unk_token", ""); !unk.empty()) bpe.options.unk_token = unk;

    for (const auto& [text, id] : vocab->items()) add(id_from(id, text), text);
    n_model_ = texts_.size();
    const int32_t last = texts_.empty() ? -1 : texts_.rbegin()->first;
    if (last >= 0 && static_cast<std::size_t>(last) >= 2 * n_model_ + 65536)  // too far for the gap to be filled below
      corrupt(fmt::format("has {} tokens but an id {}", n_model_, last));
    bpe.tokens.resize(static_cast<std::size_t>(last) + 1);
    for (const auto& [id, text] : texts_) bpe.tokens[static_cast<std::size_t>(id)] = text;
    if (merges != nullptr) read_merges(*merges, bpe);
  }

  void read_merges(const json& merges, Bpe& bpe) const {
    if (!merges.is_array()) corrupt("has merges that are not a list");
    const auto id_of = [&](std::string_view text) {
      const auto found = ids_.find(std::string(text));
      if (found == ids_.end()) {
        corrupt(fmt::format("merge {} has {}, which is not in the vocabulary", bpe.merges.size(), quote_text(text)));
      }
      return found->second;
    };
    bpe.merges.reserve(merges.size());
    for (const json& merge : merges) {
      if (merge.is_string()) {
        const std::string_view line = merge.get_ref<const std::string&>();
        if (line.starts_with("#version")) continue;
        const std::size_t space = line.find(' ');
        if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos)
          corrupt(fmt::format("merge {} is not two tokens with a space between", bpe.merges.size()));
        bpe.merges.emplace_back(id_of(line.substr(0, space)), id_of(line.substr(space + 1)));
      } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
        bpe.merges.emplace_back(id_of(merge[0].get_ref<const std::string&>()),
                                id_of(merge[1].get_ref<const std::string&>()));
      } else {
        corrupt(fmt::format("merge {} is not two tokens", bpe.merges.size()));
      }
    }
  }

  // `tokenizers` gives ids itself: those of the vocabulary, and to others the next free ones, in the order of the file.
  // A file that says something else would be read differently by it.
  void read_added_tokens(const json* added, std::vector<AddedToken>& out) {
    if (added == nullptr) return;
    if (!added->is_array()) corrupt("has added_tokens that are not a list");
    auto next = static_cast<int32_t>(n_model_);
    for (const json& token : *added) {
      if (!token.is_object() || !token.contains("id") || !token.contains("content") || !token["content"].is_string()) {
        corrupt("has an added token without id or content");
      }
      AddedToken t{.content = token["content"].get<std::string>()};
      t.id = id_from(token["id"], t.content);
      t.special = flag_or(token, "special", false);
      t.normalized = flag_or(token, "normalized", false);
      t.single_word = flag_or(token, "single_word", false);
      t.lstrip = flag_or(token, "lstrip", false);
      t.rstrip = flag_or(token, "rstrip", false);
      if (t.content.size() > kLongestAddedToken) {
        unsupported(
            fmt::format("an added token of {} bytes; at most {} are possible", t.content.size(), kLongestAddedToken));
      }
      const bool is_new = !ids_.contains(t.content);
      add(t.id, t.content);
      if (is_new && t.id != next++) {
        corrupt(fmt::format("the added token {} has the id {}, but {} is the next free one", quote_text(t.content),
                            t.id, next - 1));
      }
      out.push_back(std::move(t));
    }
    const auto by_id = [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; };
    std::stable_sort(out.begin(), out.end(), by_id);
    const auto twice = std::adjacent_find(out.begin(), out.end(), [](auto& a, auto& b) { return a.id == b.id; });
    if (twice != out.end()) corrupt(fmt::format("has the added token {} twice", quote_text(twice->content)));
  }

  void choose_special_ids(TokenizerParts& parts, std::string_view config_text) const {
    std::vector<int32_t> special;
    for (const AddedToken& t : parts.added) {
      if (t.special) special.push_back(t.id);
    }
    json config = json::object();
    if (!config_text.empty()) {
      config = parse_json(config_text, fmt::format("{} (its tokenizer_config.json)", origin()));
      if (!config.is_object()) corrupt("its tokenizer_config.json is not a JSON object");
    }
    const auto named = [&](const char* key) -> std::optional<int32_t> {
      const json* value = find(config, key);
      if (value != nullptr && value->is_object()) value = find(*value, "content");
      if (value == nullptr) return std::nullopt;
      if (!value->is_string()) corrupt(fmt::format("its tokenizer_config.json has a {} that is not a text", key));
      const auto& text = value->get_ref<const std::string&>();
      const auto found = ids_.find(text);
      if (found == ids_.end() || std::find(special.begin(), special.end(), found->second) == special.end()) {
        corrupt(fmt::format("its tokenizer_config.json has the {} {}, which is not a special token", key,
                            quote_text(text)));
      }
      return found->second;
    };
    parts.bos_id = named("bos_token");
    const std::optional<int32_t> eos = named("eos_token"), pad = named("pad_token");
    if (!eos && special.empty()) corrupt("has no special token that could end an answer");
    parts.eos_id = eos ? *eos : special.front();
    parts.pad_id = pad ? *pad : !eos && special.size() > 1 ? special[1] : parts.eos_id;
  }

  std::map<int32_t, std::string> texts_;
  std::unordered_map<std::string, int32_t> ids_;
  std::size_t n_model_ = 0;  // tokens of the model; others were added
};

}  // namespace

TokenizerParts read_parts(std::string_view text, std::string_view origin, std::string_view config_text) {
  return TokenizerReader(origin).read(parse_json(text, origin), config_text);
}

}  // namespace gradus::lm
