// Actor-critic from what another policy does, by importance sampling. Zhao, Algorithm 10.3; Degris, White & Sutton
// 2012, "Off-policy actor-critic" (arXiv 1205.4839).
//   rho = pi(a|s) / b(a|s),  delta = r + gamma v(s') - v(s)
//   theta <- theta + alpha rho delta grad log pi(a|s),   w <- w + alpha rho delta grad v(s)
// The behaviour b takes every action alike. Differs: rho is cut at ratio_clip, which trades some bias for a bounded
// variance.
#include "gradus/core/error.h"
#include "gradus/rl/deep/on_policy_agent.h"

namespace gradus::rl {

namespace {

class OffPolicyAc final : public OnPolicyAgent {
 public:
  OffPolicyAc(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed)
      : OnPolicyAgent(make_env, config, {.n_steps = 5}, seed) {
    const auto* box = std::get_if<env::Box>(&actions());
    log_b_ = box == nullptr ? -std::log(static_cast<double>(policy().head().n_outputs())) : 0;
    for (size_t i = 0; box != nullptr && i < box->low.size(); ++i) {
      const double width = box->high[i] - box->low[i];
      require(width > 0 && std::isfinite(width),
              "off-policy-ac: its behaviour draws all actions alike, but action {} has no bounds", i);
      log_b_ -= std::log(width);
    }
  }

 private:
  double act(std::span<const double>, Rng& rng, std::span<float> action) override {
    drawn_.resize(action.size());
    env::sample(actions(), rng, drawn_);
    const auto* numbers = std::get_if<env::Discrete>(&actions());
    for (size_t i = 0; i < action.size(); ++i) {
      action[i] = static_cast<float>(drawn_[i] - (numbers == nullptr ? 0 : static_cast<double>(numbers->start)));
    }
    return log_b_;
  }

  void improve(TrainingStats& stats) override {
    enum : size_t { kRho, kDelta, kNumbers };
    value(rollout(), [this](const Tensor& x) { return critic().forward(x); });
    const std::span<const int64_t> rows = all_rows();
    const auto n = static_cast<double>(rows.size());
    const double entropy_weight = ent_coef();
    const run::TrainStepResult result = descend(rows, kNumbers, [&](Batch& b) {
      for (size_t i = 0; i < b.rows.size(); ++i) {
        const auto row = static_cast<size_t>(b.rows[i]);
        const double rho = std::min(std::exp(log_prob(b, i) - rollout().log_probs[row]), c().ratio_clip);
        const double delta =
            rollout().rewards[row] + config_.learner.gamma * rollout().next_values[row] - rollout().values[row];
        add_policy_gradient(b, i, -rho * delta / n, -entropy_weight / n);
        b.d_values[i] = -2 * c().vf_coef * rho * delta / n;
        number(kRho, b, i) = rho;
        number(kDelta, b, i) = delta;
      }
    });
    const double sum = numbers().sum(kRho), squares = numbers().sum_of_squares(kRho);
    stats.add_root_mean_square("td_error", numbers().sum_of_squares(kDelta), n);
    stats.add_mean("effective_samples", squares > 0 ? sum * sum / squares / n : 0);  // 1: all count alike
    add_metrics(result, stats);
  }

  double log_b_ = 0;
  std::vector<double> drawn_;
};

}  // namespace

std::unique_ptr<Agent> make_off_policy_ac(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed) {
  return std::make_unique<OffPolicyAc>(make_env, config, seed);
}

}  // namespace gradus::rl
