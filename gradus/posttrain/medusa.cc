#include "gradus/posttrain/medusa.h"

#include <algorithm>
#include <cmath>

#include "gradus/kernels/convert.h"
#include "gradus/kernels/embedding.h"
#include "gradus/posttrain/imitation.h"
#include "gradus/posttrain/pretrain.h"

namespace gradus::posttrain {

namespace {

std::vector<nn::Parameter*> parameters_of(lm::Model& model, lm::MedusaHeads& heads, bool joint) {
  std::vector<nn::Parameter*> all;
  if (joint) all = model.transformer().parameters();
  all.insert(all.end(), heads.parameters().begin(), heads.parameters().end());
  return all;
}

}  // namespace

void MedusaTrainConfig::check() const {
  shape().check();
  PretrainConfig{.tokens = tokens,
                 .context = context,
                 .sequences = sequences,
                 .learning_rate = learning_rate,
                 .warmup = warmup,
                 .weight_decay = weight_decay,
                 .clip_norm = clip_norm,
                 .max_rows = max_rows,
                 .every = every,
                 .held_out_tokens = held_out_tokens}
      .check();
  require(context >= heads + 2, "medusa: a context of {} tokens has no target for head {}; take {} or more", context,
          heads, heads + 2);
  require(trunk_rate > 0 && trunk_rate <= 1, "medusa: trunk_rate is {}, but must be above 0 and at most 1", trunk_rate);
  require(answer_temperature >= 0, "medusa: answer_temperature is {}, but must be 0 or more", answer_temperature);
  require(lambda > 0 && decay > 0 && decay <= 1, "medusa: lambda {} must be positive, and decay {} in (0, 1]", lambda,
          decay);
}

MedusaLearner::MedusaLearner(lm::Model& model, lm::MedusaHeads& heads, const Text& text,
                             const MedusaTrainConfig& config, uint64_t seed, const Options& options)
    : model_(model),
      teacher_(config.joint ? options.teacher : &model),
      config_(config),
      seed_(seed),
      text_(tokenize(text.training(), model.tokenizer())),
      windows_(text_.ends, config.context + 1),
      optimiser_(parameters_of(model, heads, config.joint), {.weight_decay = config.weight_decay, .seed = seed}),
      scaler_(options.scaler),
      train_step_(optimiser_, {.clip_norm = config.clip_norm}, options.scaler, options.ranks),
      loss_(model.transformer(), heads, config.max_rows,
            config.needs_teacher() ? &options.teacher->transformer() : nullptr) {
  config.check();
  check_fits(model, text, {.context = config.context});
  check_has_windows(windows_, text_, text);
  GRADUS_CHECK(&heads.trunk() == &model.transformer());
  GRADUS_CHECK(!config.needs_teacher() || (teacher_ != nullptr && teacher_ != &model));
  heads.allocate_gradients();
  if (config.joint) {
    model.transformer().allocate_gradients();
    for (nn::Parameter* p : model.transformer().parameters()) p->rate = config.trunk_rate;
  } else {
    frozen_.emplace(model.transformer());
  }
}

MedusaLearner::~MedusaLearner() {
  for (nn::Parameter* p : model_.transformer().parameters()) p->rate = 1;
}

// What the step learns from: windows of the text, or what the model writes after their beginnings.
std::vector<OwnAnswer> MedusaLearner::next_texts() {
  const int64_t first = state_.step * config_.sequences;
  std::vector<std::vector<int32_t>> windows = draw_windows(windows_, text_, seed_, first, config_.sequences);
  if (config_.self_distillation) return own_answers(*teacher_, windows, config_.answer_temperature, seed_, first);
  std::vector<OwnAnswer> whole;
  for (std::vector<int32_t>& w : windows) whole.push_back({.tokens = std::move(w), .prompt_tokens = 1});
  return whole;
}

Metrics MedusaLearner::step() {
  const std::vector<OwnAnswer> texts = next_texts();
  std::vector<TrainSequence> sequences;
  for (const OwnAnswer& text : texts) sequences.push_back(text.sequence());
  const TokenBudget budget{.tokens = config_.tokens, .warmup = config_.warmup, .peak = config_.learning_rate};
  const double learning_rate = budget.learning_rate(state_.tokens);
  const double warmup_tokens = config_.warmup * static_cast<double>(config_.tokens);
  const double warmth = std::min(1.0, (static_cast<double>(state_.tokens) + 1) / (warmup_tokens + 1));
  const HeadsLoss::Weights weights =
      config_.joint ? HeadsLoss::weights(loss_.heads(), 1.0, config_.lambda * warmth, config_.decay)
                    : HeadsLoss::weights(loss_.heads(), 0.0, 1.0, config_.decay);

  const std::vector<int64_t> n_targets = loss_.count_targets(sequences);
  const size_t n_losses = weights.size();
  std::vector<double> losses(n_losses * static_cast<size_t>(train_step_.shards()), 0.0);
  const std::vector<int64_t> bounds = shard_bounds(sequences, train_step_.shards());
  const run::TrainStepResult result = train_step_.run(
      state_.step, learning_rate,
      [&](int64_t shard, const auto& backward) {
        const auto s = static_cast<size_t>(shard);
        const auto begin = static_cast<size_t>(bounds[s]), end = static_cast<size_t>(bounds[s + 1]);
        loss_.run(std::span(sequences).subspan(begin, end - begin), weights, n_targets,
                  std::span(losses).subspan(s * n_losses, n_losses), backward);
      },
      &losses);

  Metrics metrics = {{"loss", result.loss}};
  for (size_t i = config_.joint ? 0 : 1; i < n_losses; ++i) {
    double loss = 0;
    for (size_t s = i; s < losses.size(); s += n_losses) loss += losses[s];
    metrics.emplace_back(i == 0 ? "trunk_loss" : fmt::format("head_{}_loss", i), loss);
  }
  metrics.emplace_back("grad_norm", result.grad_norm);
  metrics.emplace_back("learning_rate", learning_rate);
  add_scaling_metrics(scaler_, result.small_gradients, metrics);
  const int64_t n_tokens = n_targets.front();
  metrics.emplace_back("tokens", static_cast<double>(n_tokens));
  ++state_.step;
  state_.tokens += n_tokens;
  return metrics;
}

double HeadsQuality::top(size_t head, size_t guesses) const {
  double share = 0;
  for (size_t rank = 0; rank < std::min(guesses, at_rank[head].size()); ++rank) share += at_rank[head][rank];
  return share;
}

double HeadsQuality::chain_tokens() const {
  double expected = 1, chance = 1;
  for (size_t k = 0; k < at_rank.size(); ++k) expected += chance *= top(k, 1);
  return expected;
}

HeadsQuality heads_quality(lm::Model& model, lm::MedusaHeads& heads, const Text& text,
                           const HeldOutLossConfig& config) {
  const auto n_heads = static_cast<size_t>(heads.config().heads);
  HeadsQuality quality;
  quality.at_rank.assign(n_heads, std::vector<double>(HeadsQuality::kRanks, 0.0));
  lm::MedusaGuesser guesser(heads);
  nn::Tape tape(nn::Tape::Mode::inference);
  const int64_t n_windows = (config.tokens + config.context - 1) / config.context;
  for (const std::vector<int32_t>& window : held_out_windows(text, model.tokenizer(), config.context, n_windows)) {
    if (window.size() < n_heads + 2) continue;
    nn::TokenBatch batch;
    batch.append(std::span(window).first(window.size() - n_heads - 1));
    batch.number_pages();
    const nn::Var hidden = model.transformer().hidden(tape, batch);
    const std::span<const int32_t> drawn = std::span(window).subspan(1, static_cast<size_t>(batch.rows()));
    const auto guesses = guesser.guess(hidden.value(), drawn, HeadsQuality::kRanks);
    for (size_t t = 0; t < static_cast<size_t>(batch.rows()); ++t) {
      for (size_t k = 0; k < n_heads; ++k) {
        const auto& list = guesses[t * n_heads + k];
        const auto found = std::ranges::find(list, window[t + 2 + k], &lm::Candidate::token);
        if (found != list.end()) quality.at_rank[k][static_cast<size_t>(found - list.begin())] += 1;
      }
    }
    quality.tokens += batch.rows();
    tape.reset();
  }
  for (std::vector<double>& ranks : quality.at_rank) {
    for (double& share : ranks) share /= static_cast<double>(std::max<int64_t>(1, quality.tokens));
  }
  return quality;
}

}  // namespace gradus::posttrain
