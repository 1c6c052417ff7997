// Plain text as the tokens of a model: what it is trained on and measured on.
#pragma once

#include <cstdint>
#include <vector>

#include "gradus/lm/tokenizer/tokenizer.h"
#include "gradus/posttrain/text.h"

namespace gradus::posttrain {

// The tokens of texts that do not go on from one to the next, one after the other; the end of a file is the end token.
// What the texts spell that looks like a special token is text.
struct TokenSide {
  std::vector<int32_t> ids;
  std::vector<size_t> ends;  // of each text, ascending; the last is ids.size()
};

// Four bytes a token. Throws invalid_argument when the tokenizer cannot read what is there.
TokenSide tokenize(const TextSide& side, const lm::Tokenizer& tokenizer);

// Windows number first, first + 1, ... of a run, each drawn with Rng(seed, data, its number).
std::vector<std::vector<int32_t>> draw_windows(const WindowDraw& windows, const TokenSide& side, uint64_t seed,
                                               int64_t first, int64_t n);

// Some n windows of up to context + 1 tokens of held-out text, the same for every run, and for every model that reads
// in the same tokens; fewer where there are fewer. A smaller number gives a prefix.
std::vector<std::vector<int32_t>> held_out_windows(const Text& text, const lm::Tokenizer& tokenizer, int64_t context,
                                                   int64_t n);

}  // namespace gradus::posttrain
