#include "gradus/posttrain/pretrain.h"

#include "gradus/posttrain/imitation.h"

namespace gradus::posttrain {

namespace {

constexpr int64_t kMaxSequences = 1 << 20;  // of a step; all are held in memory
constexpr int64_t kMaxContext = 1 << 20;
constexpr int64_t kMaxTokens = int64_t{1} << 48;

}  // namespace

void PretrainConfig::check() const {
  require(tokens >= 1 && tokens <= kMaxTokens, "pretrain: tokens is {}, but must be 1 to {}", tokens, kMaxTokens);
  require(context >= 2 && context <= kMaxContext, "pretrain: context is {}, but must be 2 to {}", context, kMaxContext);
  require(sequences >= 1 && sequences <= kMaxSequences && max_rows >= 1,
          "pretrain: sequences {} must be 1 to {}, and max_rows {} at least 1", sequences, kMaxSequences, max_rows);
  require(learning_rate > 0 && learning_rate < 1e3,
          "pretrain: learning_rate is {}, but must be positive and below 1000", learning_rate);
  require(warmup >= 0 && warmup <= 1, "pretrain: warmup is {}, but must be a share of the budget from 0 to 1", warmup);
  require(weight_decay >= 0 && clip_norm >= 0, "pretrain: weight_decay {} and clip_norm {} must not be negative",
          weight_decay, clip_norm);
  require(every >= 1, "pretrain: every is {}, but must be at least 1 step", every);
  require(held_out_tokens >= 1 && held_out_tokens <= kMaxTokens, "pretrain: held_out_tokens is {}, but must be 1 to {}",
          held_out_tokens, kMaxTokens);
}

void check_can_read(const lm::Model& model, const PretrainConfig& config) {
  require(config.context <= model.config().max_positions,
          "pretrain: context {} is longer than the model's {} positions; lower pretrain.context, or give a new model "
          "more (architecture.max_positions)",
          config.context, model.config().max_positions);
}

void check_fits(const lm::Model& model, const Text& text, const PretrainConfig& config) {
  check_can_read(model, config);
  tokenize(text.held_out(), model.tokenizer());  // can it read such text?
  if (!model.tokenizer().is_byte_level()) return;
  require(WindowDraw(text.training().ends, config.context + 1).n_windows() > 0,
          "{}: no text for training is as long as a window of {} bytes and the next ({} bytes in {} parts without a "
          "gap); give more text, or lower pretrain.context",
          text.path().string(), config.context, text.training().bytes, text.training().ends.size());
}

void check_has_windows(const WindowDraw& windows, const TokenSide& side, const Text& text) {
  require(windows.n_windows() > 0,
          "{}: no text for training is as long as a window and the next token ({} tokens in {} parts without a gap); "
          "give more text, or lower the context",
          text.path().string(), side.ids.size(), side.ends.size());
}

Pretrain::Pretrain(lm::Model& model, const Text& text, const PretrainConfig& config, uint64_t seed,
                   optim::LossScaler* scaler, run::Ranks* ranks)
    : model_(model),
      config_(config),
      seed_(seed),
      text_(tokenize(text.training(), model.tokenizer())),
      windows_(text_.ends, config.context + 1),
      optimiser_(model.learned(), {.weight_decay = config.weight_decay, .seed = seed}),
      scaler_(scaler),
      likelihood_(model.transformer(), 1.0, config.max_rows),
      train_step_(optimiser_, {.clip_norm = config.clip_norm, .cut_masters = true}, scaler, ranks) {
  config.check();
  check_fits(model, text, config);
  check_has_windows(windows_, text_, text);
  model.allocate_gradients();
}

Metrics Pretrain::step() {
  const std::vector<std::vector<int32_t>> windows =
      draw_windows(windows_, text_, seed_, state_.step * config_.sequences, config_.sequences);
  std::vector<TrainSequence> sequences;
  for (const std::vector<int32_t>& w : windows) sequences.push_back({.tokens = w, .prompt_tokens = 1});

  const TokenBudget budget{.tokens = config_.tokens, .warmup = config_.warmup, .peak = config_.learning_rate};
  Metrics metrics =
      imitate(train_step_, likelihood_, sequences, state_.step, budget.learning_rate(state_.tokens), scaler_);
  const int64_t n_tokens = config_.sequences * config_.context;
  metrics.emplace_back("tokens", static_cast<double>(n_tokens));
  ++state_.step;
  state_.tokens += n_tokens;
  return metrics;
}

}  // namespace gradus::posttrain
