// Rollouts: problems, the answers that the current policy samples for them, their recorded log-probabilities, their
// rewards.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "gradus/lm/sampler.h"
#include "gradus/posttrain/likelihood.h"
#include "gradus/posttrain/task.h"
#include "gradus/run/ranks.h"

namespace gradus::posttrain {

struct Rollout {
  size_t problem = 0;           // index into RolloutBatch::problems
  std::vector<int32_t> tokens;  // prompt and response, end token included if it was drawn
  int64_t prompt_tokens = 0;
  std::vector<float> log_probs;  // log pi of each response token, recorded at sampling
  std::string answer;            // the response as text, without the end token
  bool ended = false;
  Reward reward;

  int64_t response_tokens() const { return static_cast<int64_t>(log_probs.size()); }
  TrainSequence sequence() const { return {.tokens = tokens, .prompt_tokens = prompt_tokens}; }
};

struct RolloutBatch {
  std::vector<Problem> problems;
  std::vector<Rollout> rollouts;  // those of problem p are consecutive, `samples` each
  int64_t samples = 0;
  lm::SamplerStats sampling = {};  // of this rank's part

  std::span<const Rollout> of(size_t problem) const {
    return std::span(rollouts).subspan(problem * static_cast<size_t>(samples), static_cast<size_t>(samples));
  }
};

struct RolloutConfig {
  int64_t samples = 1;          // answers per problem
  uint64_t first_sequence = 0;  // rollout r draws from random stream first_sequence + r
  lm::SamplerConfig sampler;
  lm::Drafter* drafter = nullptr;  // if any: the same rollouts, sooner
};

// Samples, decodes and judges. An answer cut at max_tokens is judged wrong without asking the task: it never ended.
RolloutBatch make_rollouts(lm::Model& model, const Task& task, std::vector<Problem> problems,
                           const RolloutConfig& config, const std::function<bool()>& should_stop = {});

// The same batch on every rank, made by all of them, each some of the problems. Without ranks that is this one. Throws
// interrupted on all of them when one is to stop.
RolloutBatch make_rollouts(run::Ranks* ranks, lm::Model& model, const Task& task, std::vector<Problem> problems,
                           const RolloutConfig& config, const std::function<bool()>& should_stop = {});

// What a set of judged answers says.
struct Evaluation {
  int64_t answers = 0;
  double accuracy = 0;
  double response_tokens_mean = 0;
  double ended_share = 0;
  // Of tasks with styles ("long" / "short"): the share of long answers, and the accuracy given each; NaN where there is
  // none.
  double long_share = 0, long_accuracy = 0, short_accuracy = 0;
};
Evaluation evaluate(const Task& task, const RolloutBatch& batch);

// Sampled at temperature 1 and greedy, on the same problems. The random streams are ones that no training sample has,
// so an evaluation depends on (weights, problems, sampler.seed) alone.
struct EvaluationPair {
  Evaluation sampled, greedy;
};
EvaluationPair evaluate_on(lm::Model& model, const Task& task, const std::vector<Problem>& problems,
                           lm::SamplerConfig sampler, const std::function<bool()>& should_stop = {},
                           run::Ranks* ranks = nullptr);

// The largest |log pi_sampler - log pi_trainer| over all response tokens: the recorded values against a fresh packed
// forward pass.
double mismatch_max(lm::Model& model, std::span<const Rollout> rollouts, double temperature, int64_t max_rows);

}  // namespace gradus::posttrain
