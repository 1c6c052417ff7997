// The simplest actor-critic: action values as the critic. Zhao, Algorithm 10.1 ("QAC"); Sutton et al. 2000, "Policy
// gradient methods for reinforcement learning with function approximation", theorem 1.
//   critic: q(s, a) moves towards r + gamma sum_a' pi(a'|s') q(s', a')
//   actor:  theta <- theta + alpha q(s, a) grad log pi(a|s)
// Differs: the critic's target is the expectation over the next action, where the book takes the action itself (Sarsa):
// the same mean and less noise.
#include "gradus/rl/deep/on_policy_agent.h"
#include "gradus/rl/terminal_states.h"

namespace gradus::rl {

namespace {

class Qac final : public OnPolicyAgent {
 public:
  Qac(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed)
      : OnPolicyAgent(make_env, config, {.n_steps = 5, .critic = Own::Critic::action_values}, seed) {}

 private:
  void improve(TrainingStats& stats) override {
    enum : size_t { kDelta, kMismatch, kNumbers };
    value(rollout(), [this](const Tensor& x) { return expected_values(x); });
    const auto n_actions = static_cast<size_t>(critic().outputs());
    const std::span<const int64_t> rows = all_rows();
    const auto n = static_cast<double>(rows.size());
    const double entropy_weight = ent_coef();
    const run::TrainStepResult result = descend(rows, kNumbers, [&](Batch& b) {
      for (size_t i = 0; i < b.rows.size(); ++i) {
        const auto row = static_cast<size_t>(b.rows[i]);
        const size_t k = i * n_actions + static_cast<size_t>(action(b.rows[i])[0]);
        const double target = rollout().rewards[row] + config_.learner.gamma * rollout().next_values[row];
        add_policy_gradient(b, i, -b.values[k] / n, -entropy_weight / n);
        const double delta = number(kDelta, b, i) = target - b.values[k];
        b.d_values[k] = -2 * c().vf_coef * delta / n;
        number(kMismatch, b, i) = mismatch(b, i);
      }
    });
    stats.add_root_mean_square("td_error", numbers().sum_of_squares(kDelta), n);
    stats.add_max("mismatch_max", numbers().largest(kMismatch));
    add_metrics(result, stats);
  }

  // sum_a pi(a|s) q(s, a) of each row.
  std::span<const double> expected_values(const Tensor& x) {
    const std::span<const double> q = critic().forward(x), out = policy().forward(x);
    const auto n = static_cast<size_t>(critic().outputs());
    expected_.assign(q.size() / n, 0.0);
    for (size_t i = 0; i < q.size(); ++i) {
      const auto a = static_cast<float>(i % n);
      expected_[i / n] += std::exp(policy().head().log_prob(out.subspan(i / n * n, n), {}, {&a, 1})) * q[i];
    }
    return expected_;
  }

 public:
  std::vector<double> V() override {
    if (mdp() == nullptr) return {};
    const std::span<const double> v = expected_values(all_states());
    std::vector<double> V(v.begin(), v.end());
    zero_terminal(*mdp(), V);
    return V;
  }
  Table Q() override {
    if (mdp() == nullptr) return {};
    Table Q(mdp()->n_states(), critic().outputs());
    std::ranges::copy(critic().forward(all_states()), Q.values().begin());
    zero_terminal(*mdp(), Q);
    return Q;
  }

 private:
  std::vector<double> expected_;
};

}  // namespace

std::unique_ptr<Agent> make_qac(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed) {
  return std::make_unique<Qac>(make_env, config, seed);
}

}  // namespace gradus::rl
