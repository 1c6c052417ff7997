// Trust region policy optimisation, and its one-step form without a line search, the natural policy gradient. Schulman
// et al. 2015 (arXiv 1502.05477), section 6 and appendix C; Kakade 2001, "A natural policy gradient".
//   maximise   L(theta) = mean(pi_theta(a|s) / pi_old(a|s) A)   subject to   mean KL(pi_old || pi_theta) <= delta
// 1. g = grad L at theta_old.
// 2. s = (F + damping I)^-1 g by conjugate gradient; F, the Fisher matrix, is known by its products (PolicyJacobian).
// 3. beta = sqrt(2 delta / s^T (F + damping I) s): the step to the border of the constraint's quadratic model.
// 4. theta_old + beta s, then ever shorter: the first that meets the constraint itself and raises L. If none does,
//    theta_old to the bit.
// Where several ranks train it, steps 1 to 4 are computed by each of them, from all rows: the products with F are many
// and small. The critic's minibatches are shared.
// Differs: advantages by GAE; the damping is part of the length of the step, too, as in the authors' code.
#include <cmath>

#include "gradus/rl/deep/conjugate_gradient.h"
#include "gradus/rl/deep/on_policy_agent.h"
#include "gradus/rl/deep/policy_jacobian.h"

namespace gradus::rl {

namespace {

class TrustRegion final : public OnPolicyAgent {
 public:
  TrustRegion(const env::EnvFactory& make_env, const DeepConfig& config, bool line_search, uint64_t seed)
      : OnPolicyAgent(make_env, config, {.n_steps = 2048, .gae_lambda = 0.95, .descends = false}, seed),
        line_search_(line_search),
        jacobian_(policy()) {}

 private:
  void improve(TrainingStats& stats) override {
    estimate_advantages();
    if (c().normalize_advantage) normalize(advantages_);
    improve_policy(stats);
    improve_critic(stats);
  }

  void improve_policy(TrainingStats& stats) {
    const TrustRegionConfig& t = config_.trust_region;
    jacobian_.at(rollout().x);
    get_distribution(old_);
    double mismatch = 0;
    for (int64_t i = 0; i < rollout().rows(); ++i) mismatch = std::max(mismatch, std::abs(log_ratio(old_, i)));
    stats.add_max("mismatch_max", mismatch);

    estimate_gradient();
    const auto F = [&](std::span<const double> v, std::span<double> out) {
      jacobian_.fisher_times(v, out);
      for (size_t i = 0; i < v.size(); ++i) out[i] += t.cg_damping * v[i];
    };
    const std::span<const double> s = solve_(g_, t.cg_max_steps, 1e-10, F);
    Fs_.resize(s.size());
    F(s, Fs_);
    const double sFs = dot(s, Fs_);
    bool accepted = false;
    if (sFs > 0) {  // else the gradient is 0
      policy().get_weights(theta_);
      double length = std::sqrt(2 * t.delta / sFs);
      for (int64_t k = 0; k < (line_search_ ? t.line_search_max_iter : 1) && !accepted; ++k) {
        moved_ = theta_;
        for (size_t i = 0; i < moved_.size(); ++i) moved_[i] += length * s[i];
        policy().set_weights(moved_);
        accepted = accepts(stats);
        length *= t.line_search_shrinking_factor;
      }
      if (!accepted) policy().set_weights(theta_);
    }
    stats.add_mean("accepted", accepted);
  }

  // Whether the policy as it is now may stay: always, without a line search.
  bool accepts(TrainingStats& stats) {
    get_distribution(now_);
    const double kl = mean_kl(old_, now_), gain = surrogate(now_) - surrogate(old_);
    const bool good = kl <= config_.trust_region.delta && gain > 0;  // false for NaN, too
    if (!good && line_search_) return false;
    stats.add_mean("kl", kl);
    stats.add_max("kl_max", kl);
    stats.add_mean("surrogate_gain", gain);
    return true;
  }

  // L of a policy, by its probabilities of what the old one did.
  double surrogate(const Distribution& now) const {
    double sum = 0;
    for (int64_t i = 0; i < rollout().rows(); ++i)
      sum += std::exp(log_ratio(now, i)) * advantages_[static_cast<size_t>(i)];
    return sum / static_cast<double>(rollout().rows());
  }

  // g = grad L at the old policy, where the ratio is 1: mean(A grad log pi).
  void estimate_gradient() {
    d_out_.assign(old_.outputs.size(), 0.0);
    d_log_std_.assign(old_.deviations.size(), 0.0);
    const auto n = static_cast<size_t>(policy().head().n_outputs());
    const auto rows = static_cast<double>(rollout().rows());
    const double entropy_weight = ent_coef();
    for (int64_t i = 0; i < rollout().rows(); ++i) {
      const auto k = static_cast<size_t>(i);
      policy().head().add_gradient(row(old_, i), old_.deviations, action(i), advantages_[k] / rows,
                                   entropy_weight / rows, std::span(d_out_).subspan(k * n, n), d_log_std_);
    }
    g_.resize(static_cast<size_t>(jacobian_.n_weights()));
    jacobian_.gradient(d_out_, d_log_std_, g_);
  }

  // Passes of Adam over the returns; the policy stays.
  void improve_critic(TrainingStats& stats) {
    const std::span<int64_t> rows = all_rows();
    const auto size = static_cast<size_t>(c().batch_size);
    for (int64_t pass = 0; pass < config_.trust_region.n_critic_updates; ++pass) {
      Rng order = rng(Purpose::shuffle, pass);
      shuffle(rows, order);
      for (size_t first = 0; first < rows.size(); first += size) {
        fit_critic(rows.subspan(first, std::min(size, rows.size() - first)), stats);
      }
    }
  }

  const bool line_search_;
  PolicyJacobian jacobian_;
  ConjugateGradient solve_;
  Distribution old_, now_;
  std::vector<double> g_, Fs_, theta_, moved_, d_out_, d_log_std_;
};

}  // namespace

std::unique_ptr<Agent> make_trpo(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed) {
  return std::make_unique<TrustRegion>(make_env, config, true, seed);
}
std::unique_ptr<Agent> make_npg(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed) {
  return std::make_unique<TrustRegion>(make_env, config, false, seed);
}

}  // namespace gradus::rl
