#include "gradus/posttrain/k15.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "gradus/optim/schedule.h"

namespace gradus::posttrain {

namespace {

double mean_reward(std::span<const Rollout> rollouts) {
  double sum = 0;
  for (const Rollout& r : rollouts) sum += r.reward.value;
  return rollouts.empty() ? 0.0 : sum / static_cast<double>(rollouts.size());
}

// sum_t log pi_theta(y_t) - log pi_i(y_t)
double log_ratio(std::span<const float> now, std::span<const float> recorded) {
  double delta = 0;
  for (size_t t = 0; t < now.size(); ++t) delta += static_cast<double>(now[t]) - static_cast<double>(recorded[t]);
  return delta;
}

// The largest |a_t - b_t|, or `largest` if that is larger; a NaN wins.
double largest_difference(std::span<const float> a, std::span<const float> b, double largest) {
  for (size_t t = 0; t < a.size(); ++t) {
    const double d = std::abs(static_cast<double>(a[t]) - static_cast<double>(b[t]));
    largest = d <= largest || std::isnan(largest) ? largest : d;
  }
  return largest;
}

constexpr int64_t kMaxAnswers = 1 << 20;  // of an iteration; all are held in memory

CurriculumConfig sampling_curriculum(std::pair<int, int> difficulties, const K15Config& c) {
  return {.least = difficulties.first,
          .greatest = difficulties.second,
          .first_greatest = std::min(difficulties.second, static_cast<int>(c.first_max_difficulty)),
          .widened_at = c.widened_at,
          .prioritised = c.prioritised};
}

}  // namespace

void K15Config::check(std::pair<int, int> difficulties) const {
  require(iterations >= 0, "k15: iterations {} must not be negative", iterations);
  require(prompts >= 1 && samples >= 1 && max_rows >= 1 && max_tokens >= 1,
          "k15: prompts {}, samples {}, max_rows {} and max_tokens {} must be at least 1", prompts, samples, max_rows,
          max_tokens);
  require(prompts <= kMaxAnswers && samples <= kMaxAnswers && prompts * samples <= kMaxAnswers,
          "k15: prompts {} and samples {} are more than {} answers an iteration", prompts, samples, kMaxAnswers);
  require(minibatches >= 1 && minibatches <= prompts, "k15: minibatches {} must be 1 to prompts {}", minibatches,
          prompts);
  require(tau > 0 && tau < 1e6 && temperature > 0 && temperature < 1e6,
          "k15: tau {} and temperature {} must be positive", tau, temperature);
  require(learning_rate > 0 && learning_rate < 1e3, "k15: learning_rate is {}, but must be positive and below 1000",
          learning_rate);
  require(inner_warmup >= 0 && clip_norm >= 0, "k15: inner_warmup {} and clip_norm {} must not be negative",
          inner_warmup, clip_norm);
  require(heads_rate >= 0 && heads_rate < 1e3, "k15: heads_rate is {}, but must be 0 or more and below 1000",
          heads_rate);
  require(last_rate >= 0 && last_rate <= 1,
          "k15: last_rate is {}, but must be a share of the learning rate from 0 to 1", last_rate);
  require(weighting == "k15" || weighting == "rest", "k15: weighting is '{}', but must be k15 or rest", weighting);
  require(first_max_difficulty >= 0 && first_max_difficulty <= kMaxDifficulty,
          "k15: first_max_difficulty {} is out of range; choose one from {} to {}, or 0", first_max_difficulty,
          difficulties.first, difficulties.second);
  Curriculum{sampling_curriculum(difficulties, *this)};
}

K15::K15(lm::Model& model, const Task& task, const K15Config& config, uint64_t seed, optim::LossScaler* scaler,
         run::Ranks* ranks)
    : model_(model),
      task_(task),
      config_(config),
      seed_(seed),
      curriculum_(sampling_curriculum(task.difficulties(), config)),
      optimiser_(model.learned(), {.seed = seed}),
      scaler_(scaler),
      ranks_(ranks),
      likelihood_(model.transformer(), config.temperature, config.max_rows),
      train_step_(optimiser_, {.clip_norm = config.clip_norm, .cut_masters = true}, scaler, ranks) {
  config.check(task.difficulties());
  model.allocate_gradients();
  if (model.heads() != nullptr)
    heads_.emplace(model, RolloutHeadsConfig{.learning_rate = config.heads_rate, .max_rows = config.max_rows}, seed);
}

double K15::fraction() const {
  return config_.iterations == 0 ? 1.0
                                 : static_cast<double>(state_.iteration) / static_cast<double>(config_.iterations);
}

K15State& K15::state() {
  state_.curriculum = curriculum_.state();
  return state_;
}

void K15::restore(const K15State& state) {
  state_ = state;
  curriculum_.restore(state.curriculum);
}

std::vector<Problem> K15::draw_problems() const {
  std::vector<Problem> problems;
  for (int64_t p = 0; p < config_.prompts; ++p) {
    // The upper half of the indices: the warm-up draws from the lower.
    Rng rng(seed_, Purpose::data, (uint64_t{1} << 47) + static_cast<uint64_t>(state_.iteration * config_.prompts + p));
    problems.push_back(make_training_problem(task_, rng, curriculum_.draw(rng, fraction())));
  }
  return problems;
}

Metrics K15::iterate(const std::function<bool()>& should_stop) {
  // 1. Sample from pi_i, judge.
  const int64_t n = config_.prompts * config_.samples;
  rollouts_ =
      make_rollouts(ranks_, model_, task_, draw_problems(),
                    {.samples = config_.samples,
                     .first_sequence = static_cast<uint64_t>(state_.iteration * n),
                     .sampler = {.max_tokens = config_.max_tokens, .temperature = config_.temperature, .seed = seed_},
                     .drafter = heads_ ? &heads_->drafter() : nullptr},
                    should_stop);
  std::vector<double> reward_mean;  // r_bar per problem
  int64_t mixed = 0;
  for (size_t p = 0; p < rollouts_.problems.size(); ++p) {
    reward_mean.push_back(mean_reward(rollouts_.of(p)));
    curriculum_.record(rollouts_.problems[p].difficulty, std::clamp(reward_mean.back(), 0.0, 1.0));
    const auto same = [&](const Rollout& r) { return r.reward.value == rollouts_.of(p).front().reward.value; };
    mixed += !std::ranges::all_of(rollouts_.of(p), same);
  }

  // 4. A new problem: the optimiser starts anew; pi_i is what was recorded.
  optimiser_.reset(static_cast<uint64_t>(state_.iteration) + 1);  // 0 is the warm-up
  double grad_norm = 0, small_gradients = 0;
  std::vector<double> deltas(rollouts_.rollouts.size(), 0.0), mismatches(deltas);  // of this rank's shards
  std::vector<TrainSequence> sequences;
  for (int64_t b = 0; b < config_.minibatches; ++b) {
    const int64_t first = b * config_.prompts / config_.minibatches * config_.samples;
    const int64_t last = (b + 1) * config_.prompts / config_.minibatches * config_.samples;
    const std::span<const Rollout> batch(rollouts_.rollouts.data() + first, static_cast<size_t>(last - first));
    sequences.clear();
    for (const Rollout& r : batch) sequences.push_back(r.sequence());
    const std::vector<int64_t> bounds = shard_bounds(sequences, train_step_.shards());
    const auto weigh = [&](size_t j, std::span<const float> log_probs) {
      const Rollout& y = batch[j];
      const size_t index = static_cast<size_t>(first) + j;
      if (b == 0) mismatches[index] = largest_difference(log_probs, y.log_probs, 0);
      const double delta = deltas[index] = log_ratio(log_probs, y.log_probs);  // 2.
      const double w = config_.weighting == "k15"
                           ? k15_weight(y.reward.value, reward_mean[y.problem], config_.tau, delta)  // (3)
                           : y.reward.value;
      return w / static_cast<double>(batch.size());  // (1/k) per problem, mean over problems
    };
    const double rate = config_.learning_rate *
                        optim::warmup_cosine(state_.iteration, 0, config_.iterations, config_.last_rate) *
                        optim::warmup_constant(b, config_.inner_warmup);
    const run::TrainStepResult result =
        train_step_.run(state_.iteration, rate, [&](int64_t shard, const auto& backward) {
          const auto begin = static_cast<size_t>(bounds[static_cast<size_t>(shard)]);
          const auto end = static_cast<size_t>(bounds[static_cast<size_t>(shard) + 1]);
          likelihood_.run(
              std::span(sequences).subspan(begin, end - begin),
              [&](size_t j, std::span<const float> log_probs) { return weigh(begin + j, log_probs); }, backward);
        });  // 3.
    if (result.skipped) continue;
    grad_norm = std::max(grad_norm, result.grad_norm);
    small_gradients = std::max(small_gradients, result.small_gradients);
  }
  ++state_.iteration;
  if (ranks_ != nullptr) {
    ranks_->merge(deltas);
    ranks_->merge(mismatches);
  }
  double mismatch = 0, delta_sum = 0;
  for (const double d : deltas) delta_sum += d;
  for (const double m : mismatches) mismatch = m <= mismatch || std::isnan(mismatch) ? mismatch : m;  // a NaN wins
  int64_t tokens = 0;
  for (const Rollout& r : rollouts_.rollouts) tokens += static_cast<int64_t>(r.tokens.size());

  const Evaluation e = evaluate(task_, rollouts_);
  Metrics metrics = {{"reward_mean", mean_reward(rollouts_.rollouts)},
                     {"response_tokens_mean", e.response_tokens_mean},
                     {"mismatch_max", mismatch},
                     {"grad_norm", grad_norm},
                     {"delta_mean", delta_sum / static_cast<double>(n)},
                     {"long_share", e.long_share},
                     {"ended_share", e.ended_share},
                     {"groups_mixed", static_cast<double>(mixed) / static_cast<double>(config_.prompts)},
                     {"tokens", static_cast<double>(tokens)}};
  add_scaling_metrics(scaler_, small_gradients, metrics);
  if (heads_) {
    const lm::SamplerStats& s = rollouts_.sampling;
    const double kept = std::accumulate(s.accepted_at.begin(), s.accepted_at.end(), 0.0);
    metrics.emplace_back("sampler_steps", static_cast<double>(s.steps));
    metrics.emplace_back("kept_drafts", kept / static_cast<double>(std::max<int64_t>(1, s.draft_steps)));
    metrics.emplace_back("heads_loss", heads_->learn(rollouts_.rollouts, state_.iteration));
  }
  return metrics;
}

}  // namespace gradus::posttrain
