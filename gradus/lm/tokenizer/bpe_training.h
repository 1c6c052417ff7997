// Learns a byte-level byte-pair encoding from text: the most frequent pair of neighbours in words becomes a token,
// again and again (Sennrich et al. 2016). With the same words and sizes it learns the merges of the `tokenizers`
// package's BpeTrainer (tools/oracle/check_training.py).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "gradus/lm/tokenizer/tokenizer.h"

namespace gradus::lm {

// How words are cut and which special tokens there are; as in the model family of that name.
enum class BpeStyle { gpt2, llama3, qwen2 };
BpeStyle bpe_style_from_name(std::string_view name);  // "gpt2"; throws invalid_argument naming the known ones

struct BpeTrainingOptions {
  int64_t n_vocab =
      8192;  // of all tokens: 256 bytes, merges, special tokens; fewer come out where text has no more pairs
  int64_t min_frequency = 0;  // a pair that is rarer is not merged
  BpeStyle style = BpeStyle::gpt2;
};

// The words of a text and how often each occurs.
class WordCounter {
 public:
  explicit WordCounter(BpeStyle style);

  // One line after the other, each with its end. A line that is not UTF-8 is passed over and counted.
  void add(std::string_view text);

  int64_t n_bytes() const { return n_bytes_; }  // of the lines that were counted
  int64_t n_skipped_lines() const { return n_skipped_lines_; }
  const std::unordered_map<std::string, int64_t>& words() const { return words_; }

 private:
  std::shared_ptr<const TokenizerParts> parts_;
  std::unordered_map<std::string, int64_t> words_;
  int64_t n_bytes_ = 0, n_skipped_lines_ = 0;
};

// Learns from the words. `stop` is asked now and then; throws interrupted when it says so. Throws invalid_argument when
// n_vocab has no room for the bytes and special tokens, or there are no words.
// Deterministic: pairs of equal counts go in the order of their ids, as in `tokenizers`.
// Differs: counts have 64 bits, there 32.
// Cost: pairs are counted once, then only where a merge changed a word.
Tokenizer train_bpe(
    const WordCounter& counter, const BpeTrainingOptions& options,
    const std::function<bool()>& stop = [] { return false; });

}  // namespace gradus::lm
