#include "gradus/lm/tokenizer/bpe_training.h"

#include <algorithm>
#include <array>
#include <span>
#include <unordered_map>

#include "gradus/core/edit_distance.h"
#include "gradus/core/error.h"
#include "gradus/core/json.h"
#include "gradus/lm/tokenizer/byte_characters.h"
#include "gradus/lm/tokenizer/tokenizer_parts.h"
#include "gradus/lm/tokenizer/utf8.h"

namespace gradus::lm {

namespace {

struct Style {
  std::string_view name;
  BpeStyle style;
  WordPattern pattern;
  std::vector<std::string_view> specials;
  std::string_view bos, eos, pad;
};

const std::array<Style, 3>& styles() {
  static const std::array<Style, 3> all = {
      {{"gpt2", BpeStyle::gpt2, WordPattern::gpt2, {"<|endoftext|>"}, "", "<|endoftext|>", "<|endoftext|>"},
       {"llama3",
        BpeStyle::llama3,
        WordPattern::llama3,
        {"<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|end_of_text|>"},
       {"qwen2",
        BpeStyle::qwen2,
        WordPattern::qwen2,
        {"<|endoftext|>", "<|im_start|>", "<|im_end|>"},
        "",
        "<|endoftext|>",
        "<|endoftext|>"}}};
  return all;
}

const Style& style_of(BpeStyle style) {
  return *std::find_if(styles().begin(), styles().end(), [&](const Style& s) { return s.style == style; });
}

TokenizerParts parts_of_style(BpeStyle style) {
  TokenizerParts parts;
  if (style == BpeStyle::gpt2) {
    parts.pre_tokenizer.steps = {ToByteLevel{.add_prefix_space = false, .use_regex = true}};
  } else {
    parts.pre_tokenizer.steps = {SplitAt{.pattern = style_of(style).pattern},
                                 ToByteLevel{.add_prefix_space = false, .use_regex = false}};
  }
  if (style == BpeStyle::qwen2) parts.normalizer.steps = {NormalForm{}};
  parts.bpe.options.ignore_merges = style == BpeStyle::llama3;
  parts.decoder.steps = {FromByteLevel{}};
  return parts;
}

uint64_t key_of(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

// A pair that waits to be merged, and the words where it was when it came into the queue.
struct Candidate {
  int64_t count = 0;
  uint64_t pair = 0;
  std::size_t order = 0;  // of entry into the queue
  std::vector<uint32_t> words{};

  // Lower goes later: a smaller count, then a larger pair.
  bool operator<(const Candidate& other) const {
    if (count != other.count) return count < other.count;
    return pair != other.pair ? pair > other.pair : order > other.order;
  }
};

class Trainer {
 public:
  Trainer(const WordCounter& counter, Bpe& bpe) : bpe_(bpe) {
    // Bytes in the order of the characters that stand for them.
    std::vector<std::pair<std::string, uint8_t>> alphabet;
    for (int byte = 0; byte < 256; ++byte) {
      alphabet.emplace_back(byte_character(static_cast<uint8_t>(byte)), static_cast<uint8_t>(byte));
    }
    std::sort(alphabet.begin(), alphabet.end());  // UTF-8 sorts as its code points
    std::array<int32_t, 256> id_of_byte{};
    for (const auto& [character, byte] : alphabet) id_of_byte[byte] = add_token(character);

    std::vector<std::pair<std::string_view, int64_t>> words(counter.words().begin(), counter.words().end());
    std::sort(words.begin(), words.end());
    for (const auto& [word, count] : words) {
      std::vector<int32_t>& symbols = words_.emplace_back();
      for (const char byte : word) symbols.push_back(id_of_byte[static_cast<unsigned char>(byte)]);
      counts_.push_back(count);
    }
  }

  void run(std::size_t n_tokens, int64_t min_frequency, const std::function<bool()>& stop) {
    count_pairs();
    queue_new();
    while (bpe_.tokens.size() < n_tokens && !queue_.empty()) {
      std::pop_heap(queue_.begin(), queue_.end());
      Candidate top = std::move(queue_.back());
      queue_.pop_back();
      const int64_t count = pair_counts_[top.pair];
      if (top.count != count) {
        top.count = count;
        push(std::move(top));
        continue;
      }
      if (top.count < 1 || top.count < min_frequency) break;
      merge(top);
      queue_new();
      if (bpe_.merges.size() % 64 == 0 && stop())
        fail(ErrorCode::interrupted, "tokenizer training: interrupted after {} merges", bpe_.merges.size());
    }
    drop_repeated_merges();
  }

 private:
  int32_t add_token(const std::string& text) {
    const auto [known, is_new] = ids_.emplace(text, static_cast<int32_t>(bpe_.tokens.size()));
    if (is_new) bpe_.tokens.push_back(text);
    return known->second;
  }

  void count_pairs() {
    for (uint32_t w = 0; w < words_.size(); ++w) {
      for (std::size_t i = 0; i + 1 < words_[w].size(); ++i) note(words_[w][i], words_[w][i + 1], w, 1);
    }
  }

  void note(int32_t left, int32_t right, uint32_t word, int64_t change) {
    const uint64_t pair = key_of(left, right);
    pair_counts_[pair] += change * counts_[word];
    if (change < 0) return;
    std::vector<uint32_t>& words = found_in_[pair];
    if (words.empty() || words.back() != word) words.push_back(word);
  }

  void queue_new() {
    for (auto& [pair, words] : found_in_) {
      const int64_t count = pair_counts_[pair];
      if (count > 0) fresh_.push_back({count, pair, 0, std::move(words)});
    }
    found_in_.clear();
    std::sort(fresh_.begin(), fresh_.end(), [](const Candidate& a, const Candidate& b) { return a.pair < b.pair; });
    for (Candidate& c : fresh_) {
      c.order = n_queued_++;
      push(std::move(c));
    }
    fresh_.clear();
  }

  void push(Candidate candidate) {
    queue_.push_back(std::move(candidate));
    std::push_heap(queue_.begin(), queue_.end());
  }

  void merge(const Candidate& top) {
    const auto left = static_cast<int32_t>(top.pair >> 32), right = static_cast<int32_t>(top.pair & UINT32_MAX);
    const int32_t id =
        add_token(bpe_.tokens[static_cast<std::size_t>(left)] + bpe_.tokens[static_cast<std::size_t>(right)]);
    bpe_.merges.emplace_back(left, right);
    for (const uint32_t w : top.words) merge_in(words_[w], w, left, right, id);
  }

  void merge_in(std::vector<int32_t>& symbols, uint32_t word, int32_t left, int32_t right, int32_t id) {
    std::size_t kept = 0;  // symbols[0, kept) are done
    for (std::size_t i = 0; i < symbols.size(); ++i) {
      if (symbols[i] != left || i + 1 >= symbols.size() || symbols[i + 1] != right) {
        symbols[kept++] = symbols[i];
        continue;
      }
      if (kept > 0) {
        note(symbols[kept - 1], left, word, -1);
        note(symbols[kept - 1], id, word, 1);
      }
      if (i + 2 < symbols.size()) {
        note(right, symbols[i + 2], word, -1);
        note(id, symbols[i + 2], word, 1);
      }
      symbols[kept++] = id;
      ++i;
    }
    symbols.resize(kept);
  }

  // A pair that came into the queue twice may be merged twice; the last time is its rank.
  void drop_repeated_merges() {
    std::unordered_map<uint64_t, std::size_t> last;
    for (std::size_t i = 0; i < bpe_.merges.size(); ++i) last[key_of(bpe_.merges[i].first, bpe_.merges[i].second)] = i;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < bpe_.merges.size(); ++i) {
      if (last[key_of(bpe_.merges[i].first, bpe_.merges[i].second)] == i) bpe_.merges[kept++] = bpe_.merges[i];
    }
    bpe_.merges.resize(kept);
  }

  Bpe& bpe_;
  std::unordered_map<std::string, int32_t> ids_;
  std::vector<std::vector<int32_t>> words_;
  std::vector<int64_t> counts_;
  std::unordered_map<uint64_t, int64_t> pair_counts_;
  std::unordered_map<uint64_t, std::vector<uint32_t>> found_in_;  // pairs that were formed since queue_new
  std::vector<Candidate> fresh_;
  std::vector<Candidate> queue_;  // a heap
  std::size_t n_queued_ = 0;
};

}  // namespace

BpeStyle bpe_style_from_name(std::string_view name) {
  for (const Style& s : styles()) {
    if (s.name == name) return s.style;
  }
  fail(ErrorCode::invalid_argument, "tokenizer training: there is no style {}; gpt2, llama3 and qwen2 are known",
       quote_text(name));
}

WordCounter::WordCounter(BpeStyle style) : parts_(std::make_shared<const TokenizerParts>(parts_of_style(style))) {}

void WordCounter::add(std::string_view text) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, std::min(text.find('\n'), text.size() - 1) + 1);
    text.remove_prefix(line.size());
    if (find_invalid_utf8(line) != std::string_view::npos) {
      ++n_skipped_lines_;
      continue;
    }
    n_bytes_ += static_cast<int64_t>(line.size());
    Words words{parts_->normalizer(line).text, {}, true};
    if (words.text.empty()) continue;
    words.words = {{0, words.text.size()}};
    parts_->pre_tokenizer(words);
    for (const Match& m : words.words) ++words_[words.text.substr(m.begin, m.end - m.begin)];
  }
}

Tokenizer train_bpe(const WordCounter& counter, const BpeTrainingOptions& options, const std::function<bool()>& stop) {
  const Style& style = style_of(options.style);
  const int64_t least = 256 + static_cast<int64_t>(style.specials.size());
  require(options.n_vocab >= least && options.n_vocab <= INT32_MAX,
          "tokenizer training: a vocabulary of {} tokens; {} are the least, for bytes and special tokens",
          options.n_vocab, least);
  require(!counter.words().empty(), "tokenizer training: the text has no words");

  TokenizerParts parts = parts_of_style(options.style);
  Trainer(counter, parts.bpe)
      .run(static_cast<std::size_t>(options.n_vocab) - style.specials.size(), options.min_frequency, stop);
  for (const std::string_view special : style.specials) {
    const auto id = static_cast<int32_t>(parts.bpe.tokens.size() + parts.added.size());
    parts.added.push_back({.id = id, .content = std::string(special), .special = true});
  }
  const auto id_of = [&](std::string_view content) {
    return std::find_if(parts.added.begin(), parts.added.end(),
                        [&](const AddedToken& t) { return t.content == content; })
        ->id;
  };
  if (!style.bos.empty()) parts.bos_id = id_of(style.bos);
  parts.eos_id = id_of(style.eos);
  parts.pad_id = id_of(style.pad);
  const std::string text = write_parts(parts), config = write_config(parts);
  return parse_tokenizer_json(text, "trained tokenizer", config);
}

}  // namespace gradus::lm
