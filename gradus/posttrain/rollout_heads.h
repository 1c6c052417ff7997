// Medusa heads in reinforcement learning: they draft while a policy samples, and learn from what it sampled, so that
// they keep up with it. Rollouts are the same bits with them and without.
#pragma once

#include <optional>
#include <span>

#include "gradus/lm/medusa/model_drafter.h"
#include "gradus/optim/adamw.h"
#include "gradus/posttrain/heads_loss.h"
#include "gradus/posttrain/rollout.h"
#include "gradus/run/train_step.h"

namespace gradus::posttrain {

struct RolloutHeadsConfig {
  double learning_rate = 1e-3;  // 0: the heads stay as they are
  double decay = 0.8;           // weight of a head's loss relative to the one's before
  int64_t max_rows = 2048;      // rows of a micro-batch
};

class RolloutHeads {
 public:
  // The model has heads. Measures what rows cost on this machine.
  RolloutHeads(lm::Model& model, const RolloutHeadsConfig& config, uint64_t seed);

  // Of the weights as they are now.
  lm::Drafter& drafter() { return drafter_.drafter(); }

  // One update of the heads on all responses, the trunk as it is: gradients end at its hidden states (the same on every
  // rank, which all have all rollouts). `iteration` numbers it. Returns the heads' mean loss. Throws diverged.
  double learn(std::span<const Rollout> rollouts, int64_t iteration);

 private:
  lm::Model& model_;
  RolloutHeadsConfig config_;
  lm::ModelDrafter drafter_;
  optim::AdamW optimiser_;
  run::TrainStep train_step_;
  HeadsLoss loss_;
};

}  // namespace gradus::posttrain
