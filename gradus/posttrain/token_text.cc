#include "gradus/posttrain/token_text.h"

#include <algorithm>

#include "gradus/core/error.h"

namespace gradus::posttrain {

namespace {

void append_tokens(std::span<const Symbol> bytes, const lm::Tokenizer& tokenizer, std::vector<int32_t>& ids) {
  if (tokenizer.is_byte_level()) {
    for (const Symbol s : bytes) ids.push_back(tokenizer.byte_ids()[s]);
    return;
  }
  const std::string text(bytes.begin(), bytes.end());
  try {
    const std::vector<int32_t> tokens = tokenizer.encode(text, {.special_as_text = true});
    ids.insert(ids.end(), tokens.begin(), tokens.end());
  } catch (const Error& e) {
    fail(e.code(),
         "text: the model's tokenizer of {} tokens is not of bytes and cannot read all of the text ({}); start from a "
         "new model, or one that reads any text",
         tokenizer.n_vocab(), e.what());
  }
}

}  // namespace

TokenSide tokenize(const TextSide& side, const lm::Tokenizer& tokenizer) {
  TokenSide out;
  if (tokenizer.is_byte_level()) out.ids.reserve(side.symbols.size());
  size_t begin = 0;
  for (const size_t end : side.ends) {
    while (begin < end) {
      const auto text = std::span(side.symbols).subspan(begin, end - begin);
      const auto n = static_cast<size_t>(std::ranges::find(text, kEndOfFile) - text.begin());
      append_tokens(text.first(n), tokenizer, out.ids);
      if (n < text.size()) out.ids.push_back(tokenizer.eos_id());
      begin += std::min(text.size(), n + 1);
    }
    out.ends.push_back(out.ids.size());
  }
  return out;
}

std::vector<std::vector<int32_t>> draw_windows(const WindowDraw& windows, const TokenSide& side, uint64_t seed,
                                               int64_t first, int64_t n) {
  std::vector<std::vector<int32_t>> drawn;
  for (int64_t i = first; i < first + n; ++i) {
    Rng rng(seed, Purpose::data, static_cast<uint64_t>(i));
    const std::span<const int32_t> ids = windows.draw(rng).of(side.ids);
    drawn.emplace_back(ids.begin(), ids.end());
  }
  return drawn;
}

std::vector<std::vector<int32_t>> held_out_windows(const Text& text, const lm::Tokenizer& tokenizer, int64_t context,
                                                   int64_t n) {
  const TokenSide side = tokenize(text.held_out(), tokenizer);
  std::vector<Window> windows = consecutive_windows(side.ends, context);
  Rng rng(0, Purpose::held_out);
  const auto n_chosen = std::min(windows.size(), static_cast<size_t>(n));
  std::vector<std::vector<int32_t>> chosen;
  for (size_t i = 0; i < n_chosen; ++i) {  // Fisher and Yates
    std::swap(windows[i], windows[i + static_cast<size_t>(rng.below(static_cast<int64_t>(windows.size() - i)))]);
    const std::span<const int32_t> ids = windows[i].of(side.ids);
    chosen.emplace_back(ids.begin(), ids.end());
  }
  return chosen;
}

}  // namespace gradus::posttrain
