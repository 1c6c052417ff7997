#include "gradus/lm/tokenizer/tokenizer.h"

#include <algorithm>
#include <functional>
#include <unordered_set>

#include "gradus/core/error.h"
#include "gradus/core/json.h"
#include "gradus/lm/tokenizer/tokenizer_parts.h"
#include "gradus/lm/tokenizer/utf8.h"

namespace gradus::lm {

// What never changes once a tokenizer is made.
struct Tokenizer::State {
  TokenizerParts parts;
  std::string json, config_json;  // the files as they were read; empty for a tokenizer that was made here

  std::vector<std::string> tokens;     // of each id
  std::vector<std::string> decodable;  // what the decoder is given for each id
  std::vector<bool> is_special;        // for encode and is_special
  std::vector<bool> is_skipped;        // by decode on demand
  TokenTable ids;
  BpeEncoder encoder;
  AddedTokenFinder raw_tokens, normalized_tokens;
  bool decodes_bytes = false;  // `decodable` is what bytes_of_token makes
  bool is_byte_level = false;
  std::array<int32_t, 256> byte_ids{};
};

namespace {

std::size_t index(int32_t id) {
  return static_cast<std::size_t>(id);
}

bool touches(std::span<const Span> parts, std::size_t begin, std::size_t end) {
  const auto part = std::upper_bound(parts.begin(), parts.end(), begin,
                                     [](std::size_t place, const Span& p) { return place < p.end; });
  return part != parts.end() && part->begin < end;
}

}  // namespace

Tokenizer::Tokenizer(Vocabulary vocabulary) : Tokenizer(parts_of(vocabulary), "tokenizer") {}

Tokenizer::Tokenizer(TokenizerParts given, std::string_view origin) {
  auto state = std::make_shared<State>();
  State& s = *state;
  s.parts = std::move(given);
  const TokenizerParts& p = s.parts;

  s.tokens = p.bpe.tokens;
  for (const AddedToken& t : p.added) {
    if (index(t.id) >= s.tokens.size()) s.tokens.resize(index(t.id) + 1);
    s.tokens[index(t.id)] = t.content;
  }
  s.decodable = s.tokens;
  s.is_special.resize(s.tokens.size());
  std::vector<std::pair<std::string, AddedToken>> raw, normalized;
  std::unordered_set<std::string_view> specials;
  for (const AddedToken& t : p.added) {
    if (t.special) specials.insert(t.content);
    s.is_special[index(t.id)] = t.special;
    if (!t.normalized) {
      raw.emplace_back(t.content, t);
      continue;
    }
    std::string text = p.normalizer(t.content).text;
    if (text.empty())
      fail(ErrorCode::corrupt, "{}: the normalizer leaves nothing of {}", origin, quote_text(t.content));
    s.decodable[index(t.id)] = text;
    normalized.emplace_back(std::move(text), t);
  }
  s.raw_tokens = AddedTokenFinder(std::move(raw));
  s.normalized_tokens = AddedTokenFinder(std::move(normalized));

  s.ids.reserve(s.tokens.size());
  s.is_skipped.resize(s.tokens.size());
  for (std::size_t i = 0; i < s.tokens.size(); ++i) {
    s.ids.insert(s.tokens[i], static_cast<int32_t>(i));
    s.is_skipped[i] = specials.contains(s.decodable[i]);
  }
  s.decodes_bytes = !p.decoder.steps.empty() && !p.decoder.joins_with_spaces &&
                    std::holds_alternative<FromByteLevel>(p.decoder.steps.front());
  if (s.decodes_bytes) {
    for (std::string& text : s.decodable) text = bytes_of_token(text);
  }
  s.encoder = BpeEncoder(p.bpe, p.pre_tokenizer.is_byte_level(), origin);

  s.byte_ids.fill(-1);
  std::size_t n_special = 0, n_bytes = 0;
  for (std::size_t i = 0; i < s.tokens.size(); ++i) {
    if (s.is_special[i]) {
      ++n_special;
    } else if (s.decodes_bytes && s.decodable[i].size() == 1) {
      s.byte_ids[static_cast<unsigned char>(s.decodable[i][0])] = static_cast<int32_t>(i);
      ++n_bytes;
    }
  }
  s.is_byte_level = p.pre_tokenizer.is_byte_level() && p.normalizer.is_identity() && p.bpe.merges.empty() &&
                    n_bytes == 256 && n_bytes + n_special == s.tokens.size();
  state_ = std::move(state);
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3 + 8);
  if (options.add_special) ids = state_->parts.prefix;
  const Request request{text, options, ids};
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t bad = std::min(find_invalid_utf8(text, at), text.size());
    if (bad > at) encode_valid(request, text.substr(at, bad - at), at);
    if (bad == text.size()) break;
    require(state_->parts.pre_tokenizer.is_byte_level(), "encode: the text is not valid UTF-8 at byte {}", bad);
    require(state_->encoder.encode(text.substr(bad, 1), ids) == BpeEncoder::npos,
            "encode: the byte {:#04x} at {} has no token", static_cast<unsigned char>(text[bad]), bad);
    at = bad + 1;
  }
  if (options.add_special) ids.insert(ids.end(), state_->parts.suffix.begin(), state_->parts.suffix.end());
  return ids;
}

void Tokenizer::encode_valid(const Request& r, std::string_view text, std::size_t at) const {
  if (state_->raw_tokens.is_empty()) return encode_between(r, text, at);
  const auto is_text = [&](std::size_t begin, std::size_t end) {
    return r.options.special_as_text || touches(r.options.text_only, at + begin, at + end);
  };
  for (const Segment& s : state_->raw_tokens.find(text, !r.options.special_as_text, is_text)) {
    if (s.id >= 0) {
      r.ids.push_back(s.id);
    } else {
      encode_between(r, text.substr(s.begin, s.end - s.begin), at + s.begin);
    }
  }
}

// What stands between two tokens that are found in text as it is.
void Tokenizer::encode_between(const Request& r, std::string_view text, std::size_t at) const {
  const Normalizer& normalizer = state_->parts.normalizer;
  Normalized normalized;
  if (!normalizer.is_identity()) normalized = normalizer(text);
  const std::string_view now = normalizer.is_identity() ? text : normalized.text;
  const bool starts_at_start = at == 0 && normalized.starts_at_start;
  if (state_->normalized_tokens.is_empty()) return encode_words(r, now, starts_at_start);
  // Places in normalised text are not those of the parts that are text only: where there is such a part, all is text.
  const bool all_text = r.options.special_as_text || touches(r.options.text_only, at, at + text.size());
  const auto is_text = [&](std::size_t, std::size_t) { return all_text; };
  for (const Segment& s : state_->normalized_tokens.find(now, false, is_text)) {
    if (s.id >= 0) {
      r.ids.push_back(s.id);
    } else {
      encode_words(r, now.substr(s.begin, s.end - s.begin), starts_at_start && s.begin == 0);
    }
  }
}

void Tokenizer::encode_words(const Request& r, std::string_view text, bool starts_at_start) const {
  if (text.empty()) return;
  const auto encode_word = [&](std::string_view word) {
    const std::size_t at = state_->encoder.encode(word, r.ids);
    if (at == BpeEncoder::npos) return;
    const CodePoint c = decode_utf8(word.substr(at));
    const std::less<> before;
    const char *const place = word.data() + at, *const begin = r.whole.data();
    const bool is_in_whole = !before(place, begin) && before(place, begin + r.whole.size());
    const auto n_before = [&] { return std::count_if(begin, place, [](char b) { return (b & 0xC0) != 0x80; }); };
    fail(ErrorCode::invalid_argument, "encode: the character {} (U+{:04X}){} is not in the vocabulary of {} tokens",
         quote_text(word.substr(at, static_cast<std::size_t>(std::max(c.n_bytes, 1)))), static_cast<uint32_t>(c.value),
         is_in_whole ? fmt::format(" at position {}", n_before()) : "", n_vocab());
  };
  const PreTokenizer& pre_tokenizer = state_->parts.pre_tokenizer;
  if (pre_tokenizer.steps.empty()) return encode_word(text);
  Words words{std::string(text), {{0, text.size()}}, starts_at_start};
  pre_tokenizer(words);
  for (const Match& m : words.words) encode_word(std::string_view(words.text).substr(m.begin, m.end - m.begin));
}

std::string Tokenizer::decode(std::span<const int32_t> ids, DecodeOptions options) const {
  const State& s = *state_;
  for (const int32_t id : ids) token(id);
  const auto is_skipped = [&](int32_t id) { return options.skip_special && s.is_skipped[index(id)]; };
  if (s.decodes_bytes && s.parts.decoder.steps.size() == 1 && !options.replace_invalid) {
    std::string text;
    for (const int32_t id : ids) {
      if (!is_skipped(id)) text += s.decodable[index(id)];
    }
    return text;
  }
  DecoderChain chain(s.parts.decoder, options.replace_invalid, s.decodes_bytes);
  for (const int32_t id : ids) {
    if (!is_skipped(id)) chain.push(s.decodable[index(id)]);
  }
  chain.finish();
  return chain.take();
}

int64_t Tokenizer::n_vocab() const {
  return static_cast<int64_t>(state_->tokens.size());
}
int32_t Tokenizer::eos_id() const {
  return state_->parts.eos_id;
}
int32_t Tokenizer::pad_id() const {
  return state_->parts.pad_id;
}
std::optional<int32_t> Tokenizer::bos_id() const {
  return state_->parts.bos_id;
}
bool Tokenizer::is_byte_level() const {
  return state_->is_byte_level;
}
const std::array<int32_t, 256>& Tokenizer::byte_ids() const {
  return state_->byte_ids;
}

const std::string& Tokenizer::token(int32_t id) const {
  require(id >= 0 && id < n_vocab(), "decode: token id {} is not one of the {} tokens", id, n_vocab());
  return state_->tokens[index(id)];
}

std::optional<int32_t> Tokenizer::id_of(std::string_view token) const {
  const int32_t id = state_->ids.find(token);
  if (id == TokenTable::kNone) return std::nullopt;
  return id;
}

bool Tokenizer::is_special(int32_t id) const {
  return id >= 0 && id < n_vocab() && state_->is_special[index(id)];
}

Vocabulary Tokenizer::vocabulary() const {
  Vocabulary v{.tokens = state_->tokens,
               .special_ids = {},
               .eos_id = eos_id(),
               .pad_id = pad_id(),
               .byte_level = is_byte_level()};
  for (int32_t id = 0; id < n_vocab(); ++id) {
    if (is_special(id)) v.special_ids.push_back(id);
  }
  return v;
}

bool Tokenizer::operator==(const Tokenizer& other) const {
  if (state_ == other.state_) return true;
  const TokenizerParts &a = state_->parts, &b = other.state_->parts;
  // Special tokens may or may not be in the model's own vocabulary, too.
  return state_->tokens == other.state_->tokens && a.bpe.merges == b.bpe.merges && a.bpe.options == b.bpe.options &&
         a.added == b.added && a.normalizer == b.normalizer && a.pre_tokenizer == b.pre_tokenizer &&
         a.decoder == b.decoder && a.prefix == b.prefix && a.suffix == b.suffix && a.eos_id == b.eos_id &&
         a.pad_id == b.pad_id && a.bos_id == b.bos_id;
}

StreamDecoder::StreamDecoder(Tokenizer tokenizer, DecodeOptions options)
    : tokenizer_(std::move(tokenizer)),
      options_(options),
      chain_(tokenizer_.state_->parts.decoder, options.replace_invalid, tokenizer_.state_->decodes_bytes) {}

std::string StreamDecoder::push(int32_t id) {
  tokenizer_.token(id);
  const Tokenizer::State& s = *tokenizer_.state_;
  if (!options_.skip_special || !s.is_skipped[index(id)]) chain_.push(s.decodable[index(id)]);
  return chain_.take();
}

std::string StreamDecoder::finish() {
  chain_.finish();
  return chain_.take();
}

std::string tokenizer_json(const Tokenizer& tokenizer) {
  return tokenizer.state_->json.empty() ? write_parts(tokenizer.state_->parts) : tokenizer.state_->json;
}

std::string tokenizer_config_json(const Tokenizer& tokenizer) {
  return tokenizer.state_->config_json.empty() ? write_config(tokenizer.state_->parts) : tokenizer.state_->config_json;
}

Tokenizer parse_tokenizer_json(std::string_view text, std::string_view origin, std::string_view config_text) {
  Tokenizer tokenizer(read_parts(text, origin, config_text), origin);
  auto state = std::make_shared<Tokenizer::State>(*tokenizer.state_);
  state->json = text;
  state->config_json = config_text;
  tokenizer.state_ = std::move(state);
  return tokenizer;
}

}  // namespace gradus::lm
