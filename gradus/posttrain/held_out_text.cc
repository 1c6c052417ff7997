#include "gradus/posttrain/held_out_text.h"

#include <algorithm>
#include <cmath>

#include "gradus/core/error.h"
#include "gradus/lm/sampler.h"
#include "gradus/posttrain/rollout.h"

namespace gradus::posttrain {

HeldOutLoss held_out_loss(lm::Model& model, const Text& text, const HeldOutLossConfig& config,
                          const std::function<bool()>& should_stop, run::Ranks* ranks) {
  HeldOutLoss loss;
  std::vector<TrainSequence> sequences;
  const int64_t n_windows = (config.tokens + config.context - 1) / config.context;
  const std::vector<std::vector<int32_t>> ids = held_out_windows(text, model.tokenizer(), config.context, n_windows);
  for (const std::vector<int32_t>& window : ids) {
    const std::span<const int32_t> predicted = std::span(window).subspan(1);
    loss.tokens += static_cast<int64_t>(predicted.size());
    loss.bytes += static_cast<int64_t>(model.tokenizer().decode(predicted, {.skip_special = true}).size());
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
  // A beginning of a held-out window, as text.
  std::vector<int32_t> window = held_out_windows(text, model.tokenizer(), context, 1).at(0);
  window.resize(static_cast<size_t>(std::ranges::find(window, model.tokenizer().eos_id()) - window.begin()));
  std::string beginning = model.tokenizer().decode(window);
  const size_t line_begin = beginning.find('\n') + 1;  // 0 when there is none
  if (line_begin < beginning.size() / 2) beginning.erase(0, line_begin);
  beginning.resize(std::min(beginning.size(), kPromptBytes));
  std::vector<int32_t> prompt = model.tokenizer().encode(beginning, {.special_as_text = true});
  // Room for as many behind it, and one token at least.
  prompt.resize(std::min(prompt.size(), static_cast<size_t>(std::max<int64_t>(1, model.config().max_positions / 2))));
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
