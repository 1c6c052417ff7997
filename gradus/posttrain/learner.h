// What the learners of this room share: the model under training, the task, where progress goes, and how a run is asked
// to stop.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gradus/lm/model.h"
#include "gradus/optim/loss_scaler.h"
#include "gradus/posttrain/rollout.h"
#include "gradus/posttrain/task.h"
#include "gradus/run/gradient_exchange.h"

namespace gradus::posttrain {

using Metrics = std::vector<std::pair<std::string, double>>;

// Adds, where losses are scaled: loss_scale, skipped_steps (in all), small_gradients (the share of the gradients'
// elements that are zero or subnormal in f16).
inline void add_scaling_metrics(const optim::LossScaler* scaler, double small_gradients, Metrics& metrics) {
  if (scaler == nullptr || !scaler->active()) return;
  metrics.emplace_back("loss_scale", scaler->scale());
  metrics.emplace_back("skipped_steps", static_cast<double>(scaler->state().skipped));
  metrics.emplace_back("small_gradients", small_gradients);
}

// Adds, where ranks cut the optimiser's state: optimiser_bytes, moments and master weights of the first rank.
inline void add_cut_metrics(const run::GradientExchange* exchange, const run::Ranks* ranks, Metrics& metrics) {
  if (exchange == nullptr || ranks->config().zero == 0) return;
  metrics.emplace_back("optimiser_bytes", static_cast<double>(exchange->optimiser_bytes()));
}

// One finished step or iteration.
struct Progress {
  std::string_view phase;       // "sft", "k15"
  int64_t iteration = 0;        // from 1
  int64_t done = 0, total = 0;  // of the phase: tokens of a warm-up, iterations of RL
  const Metrics& metrics;
  const RolloutBatch* rollouts = nullptr;  // of this iteration, if it sampled
};

// Callbacks of a learner; each may be empty.
struct Hooks {
  std::function<void(const Progress&)> on_step;
  std::function<bool()>
      should_stop;  // asked between steps and while sampling; true ends the learner with Error{interrupted}
};

}  // namespace gradus::posttrain
