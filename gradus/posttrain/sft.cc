#include "gradus/posttrain/sft.h"

#include <algorithm>

#include "gradus/posttrain/imitation.h"

namespace gradus::posttrain {

namespace {

constexpr int64_t kMaxSequences = 1 << 20;  // of a step; all are held in memory
constexpr int64_t kMaxPasses = 1'000'000;

CurriculumConfig warm_up_curriculum(std::pair<int, int> difficulties, const SftConfig& c) {
  const auto [least, task_greatest] = difficulties;
  const int greatest =
      c.max_difficulty > 0 ? std::min(task_greatest, static_cast<int>(c.max_difficulty)) : task_greatest;
  return {.least = c.min_difficulty > 0 ? static_cast<int>(c.min_difficulty) : least,
          .greatest = greatest,
          .first_greatest = std::min(greatest, static_cast<int>(c.first_max_difficulty)),
          .widened_at = c.widened_at};
}

// Randomised positions (Ruoss et al. 2023, "Randomized positional encodings boost length generalization", section 3): n
// of the positions [0, span), ascending, span uniform in [n, stretch * n]. Every second sequence keeps 0, 1, 2, ..., as
// sampling has it.
std::vector<int32_t> draw_positions(int64_t n, double stretch, Rng& rng) {
  std::vector<int32_t> positions;
  const auto widest = static_cast<int64_t>(stretch * static_cast<double>(n));
  const int64_t span = rng.below(2) == 0 ? n : n + rng.below(widest - n + 1);
  for (int64_t p = 0; p < span; ++p) {  // selection sampling: keep p with probability (still needed) / (still left)
    if (rng.below(span - p) < n - static_cast<int64_t>(positions.size())) positions.push_back(static_cast<int32_t>(p));
  }
  return positions;
}

}  // namespace

void SftConfig::check(std::pair<int, int> difficulties) const {
  require(tokens >= 0, "sft: tokens {} must not be negative", tokens);
  require(passes >= 0 && passes <= kMaxPasses, "sft: passes is {}, but must be 0 (no limit) to {}", passes, kMaxPasses);
  require(sequences >= 1 && sequences <= kMaxSequences && max_rows >= 1,
          "sft: sequences {} must be 1 to {}, and max_rows {} at least 1", sequences, kMaxSequences, max_rows);
  require(learning_rate > 0 && learning_rate < 1e3, "sft: learning_rate is {}, but must be positive and below 1000",
          learning_rate);
  require(warmup >= 0 && warmup <= 1, "sft: warmup is {}, but must be a share of the budget from 0 to 1", warmup);
  require(weight_decay >= 0 && clip_norm >= 0, "sft: weight_decay {} and clip_norm {} must not be negative",
          weight_decay, clip_norm);
  for (const int64_t d : {min_difficulty, first_max_difficulty, max_difficulty}) {
    require(d >= 0 && d <= kMaxDifficulty, "sft: the difficulty {} is out of range; choose one from {} to {}, or 0", d,
            difficulties.first, difficulties.second);
  }
  require(stretch >= 1 && stretch <= 16, "sft: stretch is {}, but must be from 1 (off) to 16", stretch);
  Curriculum{warm_up_curriculum(difficulties, *this)};
}

Sft::Sft(lm::Model& model, const Task& task, const SftConfig& config, uint64_t seed, optim::LossScaler* scaler,
         run::Ranks* ranks)
    : model_(model),
      task_(task),
      config_(config),
      seed_(seed),
      curriculum_(warm_up_curriculum(task.difficulties(), config)),
      optimiser_(model.learned(), {.weight_decay = config.weight_decay, .seed = seed}),
      scaler_(scaler),
      likelihood_(model.transformer(), 1.0, config.max_rows),
      train_step_(optimiser_, {.clip_norm = config.clip_norm, .cut_masters = true}, scaler, ranks) {
  config.check(task.difficulties());
  model.allocate_gradients();
}

double Sft::fraction() const {
  return config_.tokens == 0 ? 1.0
                             : std::min(1.0, static_cast<double>(state_.tokens) / static_cast<double>(config_.tokens));
}

Metrics Sft::step() {
  const lm::Tokenizer& tokenizer = model_.tokenizer();
  std::vector<std::vector<int32_t>> tokens;
  std::vector<std::vector<int32_t>> positions;
  std::vector<TrainSequence> sequences;
  int64_t n_tokens = 0;
  for (int64_t i = 0; i < config_.sequences; ++i) {
    Rng rng(seed_, Purpose::data, static_cast<uint64_t>(state_.step * config_.sequences + i));
    const Problem problem = make_warm_up_problem(task_, rng, curriculum_.draw(rng, fraction()));
    std::vector<int32_t> sequence = task_.encode_prompt(problem, tokenizer);
    const auto prompt_tokens = static_cast<int64_t>(sequence.size());
    const std::vector<int32_t> response = task_.encode_response(task_.demonstration(problem, rng), tokenizer);
    sequence.insert(sequence.end(), response.begin(), response.end());
    sequence.push_back(tokenizer.eos_id());
    n_tokens += static_cast<int64_t>(sequence.size());
    if (config_.stretch > 1.0)
      positions.push_back(draw_positions(static_cast<int64_t>(sequence.size()), config_.stretch, rng));
    tokens.push_back(std::move(sequence));
    sequences.push_back({.prompt_tokens = prompt_tokens});
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    sequences[i].tokens = tokens[i];
    if (!positions.empty()) sequences[i].angles = positions[i];
  }

  const TokenBudget budget{.tokens = config_.tokens, .warmup = config_.warmup, .peak = config_.learning_rate};
  Metrics metrics =
      imitate(train_step_, likelihood_, sequences, state_.step, budget.learning_rate(state_.tokens), scaler_);
  metrics.emplace_back("tokens", static_cast<double>(n_tokens));
  ++state_.step;
  state_.tokens += n_tokens;
  return metrics;
}

}  // namespace gradus::posttrain
