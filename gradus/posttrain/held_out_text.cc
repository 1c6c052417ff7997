#include "gradus/posttrain/held_out_text.h"

#include <algorithm>
#include <cmath>

#include "gradus/core/error.h"
#include "gradus/lm/sampler.h"
#include "gradus/posttrain/rollout.h"

namespace gradus::posttrain {
std::vector<std::span<const Symbol>> held_out_windows(const Text& text, int64_t context, int64_t n) {
  std::vector<std::span<const Symbol>> windows = consecutive_windows(text.held_out(), context);
  GRADUS_CHECK(!windows.empty());  // a piece has a byte, and a file an end
  Rng rng(0, Purpose::held_out);
  const auto n_chosen = std::min(windows.size(), static_cast<size_t>(n));
  for (size_t i = 0; i < n_chosen; ++i) {  // Fisher and Yates
    std::swap(windows[i], windows[i + static_cast<size_t>(rng.below(static_cast<int64_t>(windows.size() - i)))]);
  }
  windows.resize(n_chosen);
  return windows;
}

std::vector<int32_t> to_ids(std::span<const Symbol> symbols, const lm::Tokenizer& tokenizer) {
  GRADUS_CHECK(tokenizer.is_byte_level());
  std::vector<int32_t> ids;
  ids.reserve(symbols.size());
  for (const Symbol s : symbols) ids.push_back(s == kEndOfFile ? tokenizer.eos_id() : tokenizer.byte_ids()[s]);
  return ids;
}

HeldOutLoss held_out_loss(lm::Model& model, const Text& text, const HeldOutLossConfig& config,
                          const std::function<bool()>& should_stop, run::Ranks* ranks) {
  HeldOutLoss loss;
  std::vector<std::vector<int32_t>> ids;
  std::vector<TrainSequence> sequences;
  const int64_t n_windows = (config.tokens + config.context - 1) / config.context;
  for (const std::span<const Symbol> window : held_out_windows(text, config.context, n_windows)) {
    ids.push_back(to_ids(window, model.tokenizer()));
    const std::span<const Symbol> predicted = window.subspan(1);
    loss.tokens += static_cast<int64_t>(predicted.size());
    loss.bytes += std::ranges::count_if(predicted, [](Symbol s) { return s != kEndOfFile; });
  }
  for (const std::vector<int32_t>& w : ids) sequences.push_back({.tokens = w, .prompt_tokens = 1});
  PackedLikelihood likelihood(model.transformer(), 1.0, config.max_rows);
  std::vector<double> nats(sequences.size(), 0.0);  // of each window
  const auto n = static_cast<int64_t>(sequences.size());
  const std::vector<int64_t> bounds = ranks != nullptr ? run::even_parts(n, ranks->size()) : std::vector<int64_t>{0, n};
  const size_t r = ranks != nullptr ? static_cast<size_t>(ranks->rank()) : 0;
  const auto begin = static_cast<size_t>(bounds[r]), end = static_cast<size_t>(bounds[r + 1]);
  bool stopped = false;
  likelihood.evaluate(std::span(sequences).subspan(begin, end - begin),
                      [&](size_t i, std::span<const float> log_probs) {
                        stopped = stopped || (should_stop && should_stop());
                        if (stopped && ranks == nullptr)
                          fail(ErrorCode::interrupted, "held-out loss: stopped before the end");
                        for (const float log_prob : log_probs) nats[begin + i] -= static_cast<double>(log_prob);
                      });
  if (ranks != nullptr) {
    if (ranks->any(stopped)) fail(ErrorCode::interrupted, "held-out loss: stopped before the end");
    ranks->merge(nats);
  }
  for (const double window : nats) loss.nats += window;
  return loss;
}

Continuation continue_held_out_text(lm::Model& model, const Text& text, int64_t context, uint64_t seed) {
  constexpr size_t kPromptBytes = 64;
  constexpr int64_t kMostTokens = 240;
  std::span<const Symbol> window = held_out_windows(text, context, 1).front();
  window = window.first(static_cast<size_t>(std::ranges::find(window, kEndOfFile) - window.begin()));
  const auto line_end = std::ranges::find(window, static_cast<Symbol>('\n'));
  const auto line_begin = static_cast<size_t>(line_end - window.begin()) + 1;
  if (line_begin < window.size() / 2) window = window.subspan(line_begin);
  // One symbol at least, and room for as many behind it.
  const auto room = static_cast<size_t>(std::max<int64_t>(1, model.config().max_positions / 2));
  window = window.first(std::min({window.size(), kPromptBytes, room}));
  std::vector<int32_t> prompt = to_ids(window, model.tokenizer());
  if (prompt.empty()) prompt.push_back(model.tokenizer().eos_id());

  const int64_t n_prompt = static_cast<int64_t>(prompt.size());
  lm::Sampler sampler(model, {.max_tokens = std::min(kMostTokens, model.config().max_positions - n_prompt),
                              .temperature = kContinuationTemperature,
                              .seed = seed});
  const lm::SampleRequest request{prompt};
  const lm::Sample sample = sampler.generate({&request, 1}).front();

  Continuation out{.prompt = model.tokenizer().decode(prompt),
                   .text = model.tokenizer().decode(sample.tokens, {.skip_special = true})};
  Rollout rollout{
      .tokens = prompt, .prompt_tokens = n_prompt, .log_probs = sample.log_probs, .answer = {}, .reward = {}};
  rollout.tokens.insert(rollout.tokens.end(), sample.tokens.begin(), sample.tokens.end());
  out.mismatch = mismatch_max(model, {&rollout, 1}, kContinuationTemperature, model.config().max_positions);
  return out;
}

}  // namespace gradus::posttrain
