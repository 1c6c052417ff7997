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

double as_double(const Tensor& x) {
  return x.dtype() == DType::f64 ? x.data<double>()[0] : static_cast<double>(x.data<float>()[0]);
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
  require(lambda > 0 && decay > 0 && decay <= 1, "medusa: lambda {} must be positive, and decay {} in (0, 1]", lambda,
          decay);
}

// Windows packed as rows: of each all tokens but the last, and for each head the rows that have a target.
struct MedusaLearner::Batch {
  nn::TokenBatch rows;
  std::vector<std::vector<int32_t>> head_rows, head_targets;  // [1 + heads]; the first is the trunk's own
  bool last = false;

  // Takes windows from `begin` on; returns where it stopped.
  size_t pack(std::span<const std::vector<int32_t>> windows, size_t begin, int64_t max_rows, int64_t n_heads) {
    rows.clear();
    head_rows.assign(static_cast<size_t>(n_heads) + 1, {});
    head_targets = head_rows;
    size_t i = begin;
    for (; i < windows.size(); ++i) {
      const std::vector<int32_t>& w = windows[i];
      const size_t inputs = w.size() - 1;
      if (i > begin && rows.rows() + static_cast<int64_t>(inputs) > max_rows) break;
      const int64_t first = rows.rows();
      rows.append(std::span(w).first(inputs));
      for (size_t k = 0; k < head_rows.size(); ++k) {
        for (size_t t = 0; t + 1 + k < w.size(); ++t) {
          head_rows[k].push_back(static_cast<int32_t>(first + static_cast<int64_t>(t)));
          head_targets[k].push_back(w[t + 1 + k]);
        }
      }
    }
    rows.number_pages();
    last = i == windows.size();
    return i;
  }
};

MedusaLearner::MedusaLearner(lm::Model& model, lm::MedusaHeads& heads, const Text& text,
                             const MedusaTrainConfig& config, uint64_t seed, optim::LossScaler* scaler,
                             run::Ranks* ranks)
    : model_(model),
      heads_(heads),
      config_(config),
      seed_(seed),
      windows_(text.training(), config.context + 1),
      optimiser_(parameters_of(model, heads, config.joint), {.weight_decay = config.weight_decay, .seed = seed}),
      scaler_(scaler),
      train_step_(optimiser_, {.clip_norm = config.clip_norm}, scaler, ranks) {
  config.check();
  check_fits(model, text, {.context = config.context});
  GRADUS_CHECK(&heads.trunk() == &model.transformer());
  heads.allocate_gradients();
  if (config.joint) {
    model.transformer().allocate_gradients();
    for (nn::Parameter* p : model.transformer().parameters()) p->rate = config.trunk_rate;
  } else {
    freeze(true);
  }
}

MedusaLearner::~MedusaLearner() {
  freeze(false);
  for (nn::Parameter* p : model_.transformer().parameters()) p->rate = 1;
}

void MedusaLearner::freeze(bool frozen) {
  for (nn::Parameter* p : model_.transformer().parameters()) p->frozen = frozen;
}

Metrics MedusaLearner::step() {
  std::vector<std::vector<int32_t>> windows;
  for (int64_t i = 0; i < config_.sequences; ++i) {
    Rng rng(seed_, Purpose::data, static_cast<uint64_t>(state_.step * config_.sequences + i));
    windows.push_back(to_ids(windows_.draw(rng), model_.tokenizer()));
  }
  const TokenBudget budget{.tokens = config_.tokens, .warmup = config_.warmup, .peak = config_.learning_rate};
  const double learning_rate = budget.learning_rate(state_.tokens);
  const double warmup_tokens = config_.warmup * static_cast<double>(config_.tokens);
  lambda_ = config_.joint
                ? config_.lambda * std::min(1.0, (static_cast<double>(state_.tokens) + 1) / (warmup_tokens + 1))
                : 1;

  const size_t n_losses = static_cast<size_t>(config_.heads) + 1;
  std::vector<double> losses(n_losses * static_cast<size_t>(train_step_.shards()), 0.0);
  const std::vector<int64_t> bounds = run::even_parts(config_.sequences, static_cast<int>(train_step_.shards()));
  const run::TrainStepResult result = train_step_.run(
      state_.step, learning_rate,
      [&](int64_t shard, const auto& backward) {
        const auto s = static_cast<size_t>(shard);
        const auto mine =
            std::span(windows).subspan(static_cast<size_t>(bounds[s]), static_cast<size_t>(bounds[s + 1] - bounds[s]));
        Batch batch;  // outlives the tape's use of it
        for (size_t begin = 0; begin < mine.size();) {
          begin = batch.pack(mine, begin, config_.max_rows, config_.heads);
          tape_.reset();
          backward(loss_of(batch, std::span(losses).subspan(s * n_losses, n_losses)), batch.last);
        }
      },
      &losses);

  Metrics metrics = {{"loss", result.loss}};
  for (size_t k = 0; k < n_losses; ++k) {
    double loss = 0;
    for (size_t s = k; s < losses.size(); s += n_losses) loss += losses[s];
    if (k > 0) metrics.emplace_back(fmt::format("head_{}_loss", k), loss);
    if (k == 0 && config_.joint) metrics.emplace_back("trunk_loss", loss);
  }
  metrics.emplace_back("grad_norm", result.grad_norm);
  metrics.emplace_back("learning_rate", learning_rate);
  add_scaling_metrics(scaler_, result.small_gradients, metrics);
  const int64_t n_tokens = config_.sequences * config_.context;
  metrics.emplace_back("tokens", static_cast<double>(n_tokens));
  ++state_.step;
  state_.tokens += n_tokens;
  return metrics;
}

// The batch's part of the loss; adds its parts of the means to losses[0], the trunk's, and losses[1 + head].
nn::Var MedusaLearner::loss_of(const Batch& batch, std::span<double> losses) {
  nn::Var x;
  if (config_.joint) {
    x = model_.transformer().hidden(tape_, batch.rows);
  } else {
    inference_.reset();
    x = tape_.constant(model_.transformer().hidden(inference_, batch.rows).value());
  }
  nn::Var total;
  weights_.resize(batch.head_rows.size());
  for (size_t k = config_.joint ? 0 : 1; k < batch.head_rows.size(); ++k) {
    const auto head = static_cast<int64_t>(k) - 1;
    const nn::Var h = k == 0 ? x : heads_.hidden(x, head);
    nn::Parameter& output = k == 0 ? model_.transformer().head() : heads_.output(head);
    const nn::Var log_probs = autograd::token_log_probs(h, output, batch.head_rows[k], batch.head_targets[k], 1.0);
    // Of the whole step: `sequences` windows of context + 1 tokens.
    const auto targets = static_cast<double>(config_.sequences * (config_.context - static_cast<int64_t>(k)));
    const double weight = k == 0 ? 1.0 : lambda_ * std::pow(config_.decay, static_cast<double>(k));
    weights_[k].assign(batch.head_rows[k].size(), -weight / targets);
    const nn::Var loss = autograd::weighted_sum(log_probs, weights_[k]);
    losses[k] += as_double(loss.value()) / weight;
    total = total.defined() ? autograd::add(total, loss) : loss;
  }
  return total;
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
  for (const std::span<const Symbol> symbols : held_out_windows(text, config.context, n_windows)) {
    const std::vector<int32_t> window = to_ids(symbols, model.tokenizer());
    if (window.size() < n_heads + 2) continue;
    nn::TokenBatch batch;
    batch.append(std::span(window).first(window.size() - n_heads - 1));
    batch.number_pages();
    const nn::Var hidden = model.transformer().hidden(tape, batch);
    const auto guesses = guesser.guess(hidden.value(), HeadsQuality::kRanks);
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
