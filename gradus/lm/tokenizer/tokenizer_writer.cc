// Writes tokenizer.json and tokenizer_config.json for tokenizers that were made or trained here.
#include <nlohmann/json.hpp>

#include "gradus/core/error.h"
#include "gradus/core/json.h"
#include "gradus/lm/tokenizer/tokenizer_parts.h"

namespace gradus::lm {

namespace {

using nlohmann::ordered_json;

// One part as it is, several as a Sequence, none as null.
ordered_json chain(std::vector<ordered_json> steps, const char* member) {
  if (steps.empty()) return nullptr;
  if (steps.size() == 1) return std::move(steps.front());
  return ordered_json{{"type", "Sequence"}, {member, std::move(steps)}};
}

ordered_json byte_level(bool add_prefix_space, bool use_regex) {
  return {
      {"type", "ByteLevel"}, {"add_prefix_space", add_prefix_space}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

ordered_json added_tokens(const TokenizerParts& parts) {
  ordered_json added = ordered_json::array();
  for (const AddedToken& t : parts.added) {
    added.push_back({{"id", t.id},
                     {"content", t.content},
                     {"single_word", t.single_word},
                     {"lstrip", t.lstrip},
                     {"rstrip", t.rstrip},
                     {"normalized", t.normalized},
                     {"special", t.special}});
  }
  return added;
}

ordered_json normalizer(const TokenizerParts& parts) {
  std::vector<ordered_json> steps;
  for (const NormalizerStep& step : parts.normalizer.steps) {
    const auto* form = std::get_if<NormalForm>(&step);
    GRADUS_CHECK(form != nullptr);
    steps.push_back({{"type", form->compatible ? "NFKC" : "NFC"}});
  }
  return chain(std::move(steps), "normalizers");
}

ordered_json pre_tokenizer(const TokenizerParts& parts) {
  std::vector<ordered_json> steps;
  for (const PreTokenizerStep& step : parts.pre_tokenizer.steps) {
    if (const auto* bytes = std::get_if<ToByteLevel>(&step)) {
      steps.push_back(byte_level(bytes->add_prefix_space, bytes->use_regex));
      continue;
    }
    const auto* split = std::get_if<SplitAt>(&step);
    GRADUS_CHECK(split != nullptr && std::holds_alternative<WordPattern>(split->pattern));
    steps.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", regex_of(std::get<WordPattern>(split->pattern))}}},
                     {"behavior", "Isolated"},
                     {"invert", false}});
  }
  return chain(std::move(steps), "pretokenizers");
}

ordered_json decoder(const TokenizerParts& parts) {
  GRADUS_CHECK(parts.decoder.steps.size() == 1);
  // A decoder has the options of the pre-tokenizer, too, but does not use them.
  if (std::holds_alternative<FromByteLevel>(parts.decoder.steps.front())) return byte_level(true, true);
  GRADUS_CHECK(std::holds_alternative<Fuse>(parts.decoder.steps.front()));
  return {{"type", "Fuse"}};
}

ordered_json model(const Bpe& bpe) {
  const auto& o = bpe.options;
  ordered_json out = {{"type", "BPE"}, {"dropout", nullptr}, {"unk_token", nullptr}};
  if (o.unk_token) out["unk_token"] = *o.unk_token;
  out.update(ordered_json{{"continuing_subword_prefix", nullptr},
                          {"end_of_word_suffix", nullptr},
                          {"fuse_unk", o.fuse_unk},
                          {"byte_fallback", o.byte_fallback},
                          {"ignore_merges", o.ignore_merges}});
  ordered_json vocab = ordered_json::object();
  auto& entries = vocab.get_ref<ordered_json::object_t&>();
  // push_back: ordered_json looks for an equal key from the start at each [], and tokens are all different.
  for (std::size_t i = 0; i < bpe.tokens.size(); ++i) entries.push_back({bpe.tokens[i], i});
  ordered_json merges = ordered_json::array();
  for (const auto& [left, right] : bpe.merges) {
    merges.push_back({bpe.tokens[static_cast<std::size_t>(left)], bpe.tokens[static_cast<std::size_t>(right)]});
  }
  out["vocab"] = std::move(vocab);
  out["merges"] = std::move(merges);
  return out;
}

const std::string& content_of(const TokenizerParts& parts, int32_t id) {
  for (const AddedToken& t : parts.added) {
    if (t.id == id) return t.content;
  }
  return parts.bpe.tokens.at(static_cast<std::size_t>(id));
}

}  // namespace

std::string write_parts(const TokenizerParts& parts) {
  GRADUS_CHECK(parts.prefix.empty() && parts.suffix.empty());
  ordered_json document = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  document["added_tokens"] = added_tokens(parts);
  document["normalizer"] = normalizer(parts);
  document["pre_tokenizer"] = pre_tokenizer(parts);
  document["post_processor"] = nullptr;
  document["decoder"] = decoder(parts);
  document["model"] = model(parts.bpe);
  return write_json(document, 2) + "\n";
}

std::string write_config(const TokenizerParts& parts) {
  ordered_json document = {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"clean_up_tokenization_spaces", false}};
  if (parts.bos_id) document["bos_token"] = content_of(parts, *parts.bos_id);
  document["eos_token"] = content_of(parts, parts.eos_id);
  document["pad_token"] = content_of(parts, parts.pad_id);
  return write_json(document, 2) + "\n";
}

}  // namespace gradus::lm
