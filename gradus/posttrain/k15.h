// Reinforcement learning by online policy mirror descent, as Kimi k1.5 does it (arXiv 2501.12599, section 2.3.2, eq.
// 3).
//
// Notation: x problem, y_j its j-th sampled answer (j = 1..k), r_j reward, pi_i the policy that sampled, pi_theta the
// one in training. Per iteration i:
//   1. sample y_1..y_k ~ pi_i(. | x) for each problem x; r_j = reward(x, y_j); r_bar = mean_j r_j
//   2. Delta_j = sum_t log pi_theta(y_jt) - log pi_i(y_jt), with log pi_i as recorded when y_j was sampled
//   3. ascend (1/k) sum_j w_j grad log pi_theta(y_j),  w_j = r_j - r_bar - tau * Delta_j held constant      (3)
//   4. the optimiser and the reference pi_i start anew: each iteration is a new problem
// No value network, no clipping of ratios, no division by a standard deviation or a length. Sampler and trainer agree
// bit for bit, so Delta_j is exactly 0 before the first update and no pass recomputes "old" or "reference"
// log-probabilities.
#pragma once

#include <cstdint>
#include <utility>

#include "gradus/optim/adamw.h"
#include "gradus/posttrain/curriculum.h"
#include "gradus/posttrain/learner.h"
#include "gradus/posttrain/likelihood.h"
#include "gradus/posttrain/rollout_heads.h"
#include "gradus/run/train_step.h"

namespace gradus::posttrain {

struct K15Config {
  int64_t iterations = 40;
  int64_t prompts = 64;     // problems per iteration
  int64_t samples = 16;     // answers per problem, k
  double tau = 0.5;         // strength of the pull towards the policy that sampled
  int64_t minibatches = 8;  // updates per iteration, one pass over the answers
  double learning_rate = 1.5e-4;
  double last_rate =
      0.1;  // share of it at the last iteration, reached by half a cosine: what was found is not unlearned by noise
  int64_t inner_warmup = 4;  // updates with a rising rate after each reset
  double clip_norm = 1.0;
  double temperature = 1.0;
  int64_t max_tokens = 100;          // per answer
  int64_t max_rows = 2048;           // rows of a micro-batch
  int64_t first_max_difficulty = 0;  // difficulties start as [least, this] and widen; 0 = all at once
  double widened_at = 0.5;           // share of the iterations at which all difficulties are in use
  bool prioritised = false;          // more of the difficulties that fail
  double heads_rate = 1e-3;
  std::string weighting = "k15";  // "rest": imitate the correct answers only, the baseline that k1.5 is compared with

  template <class F>
  void fields(F& f) {
    f("iterations", iterations, "iterations of sampling and learning; 0 = no RL");
    f("prompts", prompts, "problems per iteration");
    f("samples", samples, "answers per problem, k");
    f("tau", tau, "strength of the pull towards the policy that sampled");
    f("minibatches", minibatches, "updates per iteration");
    f("learning_rate", learning_rate, "AdamW's learning rate");
    f("last_rate", last_rate, "share of the learning rate at the last iteration, reached by half a cosine");
    f("inner_warmup", inner_warmup, "updates with a rising rate after each reset of the optimiser");
    f("clip_norm", clip_norm, "largest global gradient norm; 0 = off");
    f("temperature", temperature, "of sampling, and so of the recorded log-probabilities");
    f("max_tokens", max_tokens, "longest answer");
    f("max_rows", max_rows, "rows of a micro-batch");
    f("first_max_difficulty", first_max_difficulty, "start with difficulties up to this and widen; 0 = all at once");
    f("widened_at", widened_at, "share of the iterations at which all difficulties are in use");
    f("prioritised", prioritised, "draw more of the difficulties that fail");
    f("heads_rate", heads_rate, "learning rate of the model's Medusa heads, if it has some; 0 = they stay as they are");
    f("weighting", weighting, "k15, or rest: imitate correct answers only");
  }

  // Throws invalid_argument on values that make no sense, alone or with a task of these difficulties.
  void check(std::pair<int, int> difficulties) const;
};

// With the weights, all that a resume needs between iterations.
struct K15State {
  int64_t iteration = 0;
  std::vector<double> curriculum;
};

class K15 {
 public:
  K15(lm::Model& model, const Task& task, const K15Config& config, uint64_t seed, optim::LossScaler* scaler = nullptr,
      run::Ranks* ranks = nullptr);

  bool done() const { return state_.iteration >= config_.iterations; }

  // One iteration. Metrics: reward_mean, response_tokens_mean, mismatch_max, grad_norm, delta_mean, long_share,
  // ended_share, groups_mixed (share of problems with both right and wrong answers), tokens; of a model with Medusa
  // heads also sampler_steps, kept_drafts (tokens of a tree that were right, in the mean) and heads_loss; under loss
  // scaling also those of add_scaling_metrics. Throws diverged, interrupted.
  Metrics iterate(const std::function<bool()>& should_stop = {});

  const RolloutBatch& rollouts() const { return rollouts_; }  // of the last iteration
  double fraction() const;
  K15State& state();
  void restore(const K15State& state);

 private:
  std::vector<Problem> draw_problems() const;

  lm::Model& model_;
  const Task& task_;
  K15Config config_;
  uint64_t seed_;
  Curriculum curriculum_;
  optim::AdamW optimiser_;
  optim::LossScaler* scaler_;
  run::Ranks* ranks_;
  PackedLikelihood likelihood_;
  run::TrainStep train_step_;
  std::optional<RolloutHeads> heads_;  // of a model that has some
  RolloutBatch rollouts_;
  K15State state_;
};

// w_j of equation 3.
inline double k15_weight(double reward, double reward_mean, double tau, double delta) {
  return reward - reward_mean - tau * delta;
}

}  // namespace gradus::posttrain
