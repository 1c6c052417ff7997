#include "gradus/posttrain/imitation.h"

#include "gradus/optim/schedule.h"

namespace gradus::posttrain {

double TokenBudget::learning_rate(int64_t done) const {
  const auto warmup_tokens = static_cast<int64_t>(warmup * static_cast<double>(tokens));
  return peak * optim::warmup_cosine(done, warmup_tokens, tokens, 0.1);
}

Metrics imitate(run::TrainStep& train_step, PackedLikelihood& likelihood, std::span<const TrainSequence> sequences,
                int64_t step, double learning_rate, const optim::LossScaler* scaler) {
  int64_t n_targets = 0;
  for (const TrainSequence& s : sequences) n_targets += s.response_tokens();
  const double weight = 1.0 / static_cast<double>(n_targets);
  const std::vector<int64_t> bounds = shard_bounds(sequences, train_step.shards());
  const run::TrainStepResult result = train_step.run(step, learning_rate, [&](int64_t shard, const auto& backward) {
    const auto s = static_cast<size_t>(shard);
    const auto begin = static_cast<size_t>(bounds[s]), end = static_cast<size_t>(bounds[s + 1]);
    likelihood.run(
        sequences.subspan(begin, end - begin), [&](size_t, std::span<const float>) { return weight; }, backward);
  });
  Metrics metrics = {{"loss", result.loss}, {"grad_norm", result.grad_norm}, {"learning_rate", learning_rate}};
  add_scaling_metrics(scaler, result.small_gradients, metrics);
  return metrics;
}

}  // namespace gradus::posttrain
