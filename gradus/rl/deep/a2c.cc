// Advantage actor-critic. Mnih et al. 2016 (arXiv 1602.01783), section 4 and Algorithm S3, all environments in step;
// Zhao, Algorithm 10.2. The gradient is that of
//   -mean(A log pi(a|s)) - ent_coef mean(H) + vf_coef mean((R - v(s))^2)
// with A by GAE, lambda 1 being the n-step advantage of the paper. A and R are constants.
// Differs: Adam takes the steps, not RMSProp.
#include "gradus/rl/deep/on_policy_agent.h"

namespace gradus::rl {

namespace {

class A2c final : public OnPolicyAgent {
 public:
  A2c(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed)
      : OnPolicyAgent(make_env, config, {.n_steps = 5, .gae_lambda = 1}, seed) {}

 private:
  void improve(TrainingStats& stats) override {
    enum : size_t { kError, kEntropy, kMismatch, kNumbers };
    estimate_advantages();
    const std::span<const int64_t> rows = all_rows();
    const auto n = static_cast<double>(rows.size());
    const double entropy_weight = ent_coef();
    const run::TrainStepResult result = descend(rows, kNumbers, [&](Batch& b) {
      for (size_t i = 0; i < b.rows.size(); ++i) {
        const auto row = static_cast<size_t>(b.rows[i]);
        add_policy_gradient(b, i, -advantages_[row] / n, -entropy_weight / n);
        const double error = number(kError, b, i) = returns_[row] - b.values[i];
        b.d_values[i] = -2 * c().vf_coef * error / n;
        number(kEntropy, b, i) = entropy(b, i);
        number(kMismatch, b, i) = mismatch(b, i);
      }
    });
    stats.add_root_mean_square("td_error", numbers().sum_of_squares(kError), n);
    stats.add_mean("entropy", numbers().sum(kEntropy) / n);
    stats.add_max("mismatch_max", numbers().largest(kMismatch));
    add_metrics(result, stats);
  }
};

}  // namespace

std::unique_ptr<Agent> make_a2c(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed) {
  return std::make_unique<A2c>(make_env, config, seed);
}

}  // namespace gradus::rl
