#include "gradus/posttrain/rollout.h"

#include "gradus/posttrain/rollout_bytes.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace gradus::posttrain {

RolloutBatch make_rollouts(lm::Model& model, const Task& task, std::vector<Problem> problems,
                           const RolloutConfig& config, const std::function<bool()>& should_stop) {
  const lm::Tokenizer& tokenizer = model.tokenizer();
  std::vector<std::vector<int32_t>> prompts;
  std::vector<lm::SampleRequest> requests;
  for (const Problem& p : problems) prompts.push_back(task.encode_prompt(p, tokenizer));
  for (const std::vector<int32_t>& prompt : prompts) {
    for (int64_t j = 0; j < config.samples; ++j) requests.push_back({prompt, config.first_sequence + requests.size()});
  }
  lm::Sampler sampler(model, config.sampler, config.drafter);
  std::vector<lm::Sample> samples = sampler.generate(requests, should_stop);

  RolloutBatch batch{
      .problems = std::move(problems), .rollouts = {}, .samples = config.samples, .sampling = sampler.stats()};
  std::vector<Judged> judged;
  for (size_t r = 0; r < samples.size(); ++r) {
    lm::Sample& s = samples[r];
    Rollout rollout{.problem = r / static_cast<size_t>(config.samples),
                    .tokens = prompts[r / static_cast<size_t>(config.samples)],
                    .prompt_tokens = static_cast<int64_t>(requests[r].prompt.size()),
                    .log_probs = std::move(s.log_probs),
                    .answer = tokenizer.decode(std::span(s.tokens).first(s.tokens.size() - (s.ended ? 1 : 0))),
                    .ended = s.ended,
                    .reward = {}};
    rollout.tokens.insert(rollout.tokens.end(), s.tokens.begin(), s.tokens.end());
    batch.rollouts.push_back(std::move(rollout));
  }
  for (const Rollout& r : batch.rollouts) {
    if (r.ended) judged.push_back({&batch.problems[r.problem], r.answer});
  }
  const std::vector<Reward> rewards = task.judge_all(judged);
  size_t next = 0;
  for (Rollout& r : batch.rollouts) {
    if (r.ended) r.reward = rewards[next++];
  }
  return batch;
}

RolloutBatch make_rollouts(run::Ranks* ranks, lm::Model& model, const Task& task, std::vector<Problem> problems,
                           const RolloutConfig& config, const std::function<bool()>& should_stop) {
  if (ranks == nullptr || ranks->size() == 1)
    return make_rollouts(model, task, std::move(problems), config, should_stop);
  const std::vector<int64_t> bounds = run::even_parts(static_cast<int64_t>(problems.size()), ranks->size());
  const auto r = static_cast<size_t>(ranks->rank());
  RolloutConfig mine = config;
  mine.first_sequence += static_cast<uint64_t>(bounds[r] * config.samples);
  std::string bytes;  // none: this rank is to stop
  lm::SamplerStats sampling;
  try {
    const RolloutBatch part =
        make_rollouts(model, task, {problems.begin() + bounds[r], problems.begin() + bounds[r + 1]}, mine, should_stop);
    bytes = to_bytes(part.rollouts);
    sampling = part.sampling;
  } catch (const Error& e) {
    if (e.code() != ErrorCode::interrupted) throw;
  }
  const std::vector<std::string> parts = ranks->gather(bytes);
  RolloutBatch batch{.problems = std::move(problems), .rollouts = {}, .samples = config.samples, .sampling = sampling};
  for (size_t k = 0; k < parts.size(); ++k) {
    if (parts[k].empty()) fail(ErrorCode::interrupted, "rollouts: rank {} was told to stop", k);
    for (Rollout& rollout : parse_rollouts(parts[k])) {
      rollout.problem += static_cast<size_t>(bounds[k]);
      batch.rollouts.push_back(std::move(rollout));
    }
  }
  return batch;
}

Evaluation evaluate(const Task& task, const RolloutBatch& batch) {
  Evaluation e{.answers = static_cast<int64_t>(batch.rollouts.size())};
  int64_t correct = 0, ended = 0, tokens = 0, n_long = 0, n_short = 0, long_correct = 0, short_correct = 0;
  for (const Rollout& r : batch.rollouts) {
    correct += r.reward.correct;
    ended += r.ended;
    tokens += r.response_tokens();
    const std::string style = task.style(r.answer);
    if (style == "long") ++n_long, long_correct += r.reward.correct;
    if (style == "short") ++n_short, short_correct += r.reward.correct;
  }
  const auto ratio = [](int64_t a, int64_t b) {
    return b == 0 ? std::numeric_limits<double>::quiet_NaN() : static_cast<double>(a) / static_cast<double>(b);
  };
  e.accuracy = ratio(correct, e.answers);
  e.ended_share = ratio(ended, e.answers);
  e.response_tokens_mean = ratio(tokens, e.answers);
  e.long_share = ratio(n_long, n_long + n_short);
  e.long_accuracy = ratio(long_correct, n_long);
  e.short_accuracy = ratio(short_correct, n_short);
  return e;
}

EvaluationPair evaluate_on(lm::Model& model, const Task& task, const std::vector<Problem>& problems,
                           lm::SamplerConfig sampler, const std::function<bool()>& should_stop, run::Ranks* ranks) {
  const auto at = [&](double temperature) {
    sampler.temperature = temperature;
    return evaluate(
        task, make_rollouts(ranks, model, task, problems,
                            {.samples = 1, .first_sequence = uint64_t{1} << 46, .sampler = sampler}, should_stop));
  };
  return {.sampled = at(1.0), .greedy = at(0.0)};
}

double mismatch_max(lm::Model& model, std::span<const Rollout> rollouts, double temperature, int64_t max_rows) {
  std::vector<TrainSequence> sequences;
  for (const Rollout& r : rollouts) sequences.push_back(r.sequence());
  double largest = 0;
  PackedLikelihood(model.transformer(), temperature, max_rows)
      .evaluate(sequences, [&](size_t i, std::span<const float> log_probs) {
        for (size_t t = 0; t < log_probs.size(); ++t) {
          const double difference =
              std::abs(static_cast<double>(log_probs[t]) - static_cast<double>(rollouts[i].log_probs[t]));
          largest = difference <= largest || std::isnan(largest) ? largest : difference;  // a NaN wins
        }
      });
  return largest;
}

}  // namespace gradus::posttrain
