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
        descend(batch, stats, [&](Batch& b) { kl += surrogate(b, epoch == 0 && first == 0, stats); });
      }
      kl /= static_cast<double>(rows.size());
      stats.add_mean("approx_kl", kl);
      if (c().target_kl > 0 && kl > c().target_kl) break;
    }
  }

  // The gradient of -mean(min(r A, clip(r, 1 - c, 1 + c) A)) - ent_coef mean(H) + vf_coef mean((R - v)^2). Returns the
  // sum of r - 1 - log r, an estimate of the divergence (Schulman 2020, "Approximating KL divergence").
  double surrogate(Batch& b, bool first, TrainingStats& stats) {
    const auto n = static_cast<double>(b.rows.size()), per_row = 1 / n;
    const double clip_range = scheduled(c().clip_range, config_.schedule.clip_range_share), entropy_weight = ent_coef();
    A_.resize(b.rows.size());
    const std::span<double> A(A_);
    for (size_t k = 0; k < A.size(); ++k) A[k] = advantages_[static_cast<size_t>(b.rows[k])];
    if (c().normalize_advantage && A.size() > 1) normalize(A);
    double kl = 0, clipped = 0, entropies = 0, squares = 0;
    for (size_t k = 0; k < A.size(); ++k) {
      const auto row = static_cast<size_t>(b.rows[k]);
      const double log_r = log_prob(b, k) - rollout().log_probs[row], r = std::exp(log_r);
      const bool cut = A[k] > 0 ? r > 1 + clip_range : r < 1 - clip_range;
      add_policy_gradient(b, k, cut ? 0 : -r * A[k] * per_row, -entropy_weight * per_row);
      const double error = returns_[row] - b.values[k];
      b.d_values[k] = -2 * c().vf_coef * error * per_row;
      kl += r - 1 - log_r;
      clipped += cut;
      entropies += entropy(b, k);
      squares += error * error;
    }
    stats.add_root_mean_square("value_loss", squares, n);
    stats.add_mean("clip_fraction", clipped / n);
    stats.add_mean("entropy", entropies / n);
    if (first) stats.add_max("mismatch_max", mismatch(b));  // before any update
    return kl;
  }

  std::vector<double> A_;  // of a minibatch
};

}  // namespace

std::unique_ptr<Agent> make_ppo(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed) {
  return std::make_unique<Ppo>(make_env, config, seed);
}

}  // namespace gradus::rl
