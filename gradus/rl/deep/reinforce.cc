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
    estimate_advantages();
    descend(all_rows(), stats, [&](Batch& b) {
      const auto n = static_cast<double>(b.rows.size());
      const double entropy_weight = ent_coef();
      double squares = 0;
      for (size_t i = 0; i < b.rows.size(); ++i) {
        const double G = returns_[i], weight = c().baseline ? G - rollout().values[i] : G;
        add_policy_gradient(b, i, -weight / n, -entropy_weight / n);
        const double error = G - b.values[i];
        b.d_values[i] = -2 * c().vf_coef * error / n;
        squares += error * error;
      }
      stats.add_root_mean_square("td_error", squares, n);
      stats.add_max("mismatch_max", mismatch(b));
    });
  }
};

}  // namespace

std::unique_ptr<Agent> make_reinforce(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed) {
  return std::make_unique<Reinforce>(make_env, config, seed);
}

}  // namespace gradus::rl
