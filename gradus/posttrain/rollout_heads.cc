#include "gradus/posttrain/rollout_heads.h"

namespace gradus::posttrain {

RolloutHeads::RolloutHeads(lm::Model& model, const RolloutHeadsConfig& config, uint64_t seed)
    : model_(model),
      config_(config),
      drafter_(model),
      optimiser_(model.heads()->parameters(), {.seed = seed}),
      train_step_(optimiser_, {}),
      loss_(model.transformer(), *model.heads(), config.max_rows) {
  if (config.learning_rate > 0) model.heads()->allocate_gradients();
}

double RolloutHeads::learn(std::span<const Rollout> rollouts, int64_t iteration) {
  if (config_.learning_rate == 0) return 0;
  const FrozenTrunk frozen(model_.transformer());
  std::vector<TrainSequence> sequences;
  for (const Rollout& r : rollouts) sequences.push_back(r.sequence());
  const HeadsLoss::Weights weights = HeadsLoss::weights(*model_.heads(), 0.0, 1.0, config_.decay);
  const std::vector<int64_t> n_targets = loss_.count_targets(sequences);
  std::vector<double> losses(weights.size(), 0.0);
  train_step_.run(iteration, config_.learning_rate,
                  [&](int64_t, const auto& backward) { loss_.run(sequences, weights, n_targets, losses, backward); });
  double sum = 0;
  for (size_t i = 1; i < losses.size(); ++i) sum += losses[i];
  return sum / static_cast<double>(losses.size() - 1);
}

}  // namespace gradus::posttrain
