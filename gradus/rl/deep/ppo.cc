// Proximal policy optimisation. Schulman et al. 2017 (arXiv 1707.06347), eq. (7) and Algorithm 1, with the details that
// make its results (Huang et al. 2022, "The 37 implementation details of proximal policy optimization"): advantages by
// GAE and normalised in each minibatch, Adam with eps 1e-5, one clipped gradient norm for policy and critic, small
// first weights of the policy's last layer. Notation: r = pi(a|s) / pi_old(a|s);  A = advantages;  R = returns.
#include <cmath>

#include "gradus/rl/deep/on_policy_agent.h"

namespace gradus::rl {

namespace {

class Ppo final : public OnPolicyAgent {
 public:
  Ppo(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed)
      : OnPolicyAgent(make_env, config, {.n_steps = 2048, .gae_lambda = 0.95}, seed) {}

 private:
  void improve(TrainingStats& stats) override {
    estimate_advantages();
    const std::span<int64_t> rows = all_rows();
    const auto size = static_cast<size_t>(c().batch_size);
    for (int64_t epoch = 0; epoch < c().n_epochs; ++epoch) {
      Rng order = rng(Purpose::shuffle, epoch);
      shuffle(rows, order);
      double kl = 0;
      for (size_t first = 0; first < rows.size(); first += size) {
        const auto batch = rows.subspan(first, std::min(size, rows.size() - first));
        kl += improve_on(batch, epoch == 0 && first == 0, stats);
      }
      kl /= static_cast<double>(rows.size());
      stats.add_mean("approx_kl", kl);
      if (c().target_kl > 0 && kl > c().target_kl) break;
    }
  }

  enum Number : size_t { kError, kClipped, kEntropy, kMismatch, kKl, kNumbers };

  // One step on a minibatch; `first` before any other. Returns the sum of r - 1 - log r, an estimate of the divergence
  // (Schulman 2020, "Approximating KL divergence").
  double improve_on(std::span<const int64_t> rows, bool first, TrainingStats& stats) {
    A_.resize(rows.size());
    for (size_t k = 0; k < rows.size(); ++k) A_[k] = advantages_[static_cast<size_t>(rows[k])];
    if (c().normalize_advantage && rows.size() > 1) normalize(A_);
    const run::TrainStepResult result = descend(rows, kNumbers, [this](Batch& b) { surrogate(b); });
    const auto n = static_cast<double>(rows.size());
    stats.add_root_mean_square("value_loss", numbers().sum_of_squares(kError), n);
    stats.add_mean("clip_fraction", numbers().sum(kClipped) / n);
    stats.add_mean("entropy", numbers().sum(kEntropy) / n);
    if (first) stats.add_max("mismatch_max", numbers().largest(kMismatch));
    add_metrics(result, stats);
    return numbers().sum(kKl);
  }

  // The gradient of -mean(min(r A, clip(r, 1 - c, 1 + c) A)) - ent_coef mean(H) + vf_coef mean((R - v)^2).
  void surrogate(Batch& b) {
    const double per_row = 1 / b.n;
    const double clip_range = scheduled(c().clip_range, config_.schedule.clip_range_share), entropy_weight = ent_coef();
    const double* A = A_.data() + b.first;
    for (size_t k = 0; k < b.rows.size(); ++k) {
      const auto row = static_cast<size_t>(b.rows[k]);
      const double log_r = log_prob(b, k) - rollout().log_probs[row], r = std::exp(log_r);
      const bool cut = A[k] > 0 ? r > 1 + clip_range : r < 1 - clip_range;
      add_policy_gradient(b, k, cut ? 0 : -r * A[k] * per_row, -entropy_weight * per_row);
      const double error = number(kError, b, k) = returns_[row] - b.values[k];
      b.d_values[k] = -2 * c().vf_coef * error * per_row;
      number(kKl, b, k) = r - 1 - log_r;
      number(kClipped, b, k) = cut;
      number(kEntropy, b, k) = entropy(b, k);
      number(kMismatch, b, k) = std::abs(log_r);
    }
  }

  std::vector<double> A_;  // of a minibatch
};

}  // namespace

std::unique_ptr<Agent> make_ppo(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed) {
  return std::make_unique<Ppo>(make_env, config, seed);
}

}  // namespace gradus::rl
