// Policy gradient by Monte Carlo returns, with and without a baseline. Williams 1992, "Simple statistical
// gradient-following algorithms for connectionist reinforcement learning"; Sutton & Barto, 2nd ed., sections 13.3 and
// 13.4; Zhao, Algorithm 9.1.
//   theta <- theta + alpha mean((G_t - b(S_t)) grad log pi(A_t|S_t)),   b = v(s), learned from G_t, or 0
// Differs: the factor gamma^t of the episodic gradient is left out, as is usual. Where an episode was cut, by a time
// limit or because n_steps are collected, v stands for what would have followed; without a baseline, too.
#include "gradus/rl/deep/on_policy_agent.h"

namespace gradus::rl {

namespace {

class Reinforce final : public OnPolicyAgent {
 public:
  Reinforce(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed)
      : OnPolicyAgent(make_env, returns_of(config), {}, seed) {}

 private:
  static DeepConfig returns_of(DeepConfig config) {
    config.on_policy.check();
    config.on_policy.gae_lambda = 1;  // A_t = G_t - v(S_t)
    return config;
  }

  void improve(TrainingStats& stats) override {
    enum : size_t { kError, kMismatch, kNumbers };
    estimate_advantages();
    const std::span<const int64_t> rows = all_rows();
    const auto n = static_cast<double>(rows.size());
    const double entropy_weight = ent_coef();
    const run::TrainStepResult result = descend(rows, kNumbers, [&](Batch& b) {
      for (size_t i = 0; i < b.rows.size(); ++i) {
        const auto row = static_cast<size_t>(b.rows[i]);
        const double G = returns_[row], weight = c().baseline ? G - rollout().values[row] : G;
        add_policy_gradient(b, i, -weight / n, -entropy_weight / n);
        const double error = number(kError, b, i) = G - b.values[i];
        b.d_values[i] = -2 * c().vf_coef * error / n;
        number(kMismatch, b, i) = mismatch(b, i);
      }
    });
    stats.add_root_mean_square("td_error", numbers().sum_of_squares(kError), n);
    stats.add_max("mismatch_max", numbers().largest(kMismatch));
    add_metrics(result, stats);
  }
};

}  // namespace

std::unique_ptr<Agent> make_reinforce(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed) {
  return std::make_unique<Reinforce>(make_env, config, seed);
}

}  // namespace gradus::rl
