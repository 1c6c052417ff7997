// Deep Q-learning from a buffer that a given policy fills first. Zhao, Algorithm 8.4, "Deep Q-learning (off-policy
// version)"; the deep form of Algorithm 7.3.
// Notation: w, w_T are the weights of the network and of the target network;  s, a, r, s2 = S_t, A_t, R_{t+1}, S_{t+1}.
// Differs: Adam takes the steps.
#include "gradus/rl/deep/replay_agent.h"

namespace gradus::rl {

namespace {

// The first call fills the buffer, by as many episodes of the behaviour policy as it takes. An episode is then
// gradient_steps updates, without a step in the environment.
class OffPolicyDqn final : public ReplayAgent {
  // y = r + gamma max_a q(s2, a, w_T): eq. (8.38).
  auto q_learning_targets() const {
    return [this](const Minibatch& batch, std::span<const double> q2, std::span<double> y) {
      const auto n = static_cast<size_t>(actions_.n);
      for (size_t i = 0; i < y.size(); ++i) {
        const double best = std::ranges::max(q2.subspan(i * n, n));
        y[i] = batch.terminated[i] ? batch.r[i] : batch.r[i] + config_.learner.gamma * best;
      }
    };
  }

 public:
  OffPolicyDqn(std::unique_ptr<env::Env> env, const DeepConfig& config, uint64_t seed)
      : ReplayAgent(std::move(env), config, Values::of_actions, seed),
        behaviour_(mdp(), this->env().spec(), config.learner.behaviour, config.learner.behaviour_eps,
                   config.learner.gamma) {
    check_covers(*mdp(), behaviour_.table());
  }

  EpisodeStats learn_episode(Rng& rng) override {
    EpisodeStats stats;
    EpisodeEnv env{this->env(), rng};
    while (buffer_.size() < buffer_.capacity()) fill(env, rng, stats);
    for (int64_t k = 0; k < gradient_steps(100); ++k) update(q_learning_targets(), rng, stats);
    return stats;
  }

  bool has_policy() const override { return true; }

 private:
  std::vector<double> state_values() override { return greatest_values(action_values()); }
  Table action_values() override { return values_of_all(); }

  void fill(EpisodeEnv& env, Rng& rng, EpisodeStats& stats) {
    begin(env);
    while (buffer_.size() < buffer_.capacity()) {
      const env::StepResult m = step(env, behaviour_(points()->state(), rng));
      stats.add(m);
      if (m.terminated || m.truncated) return;
    }
  }

  const GivenPolicy behaviour_;
};

}  // namespace

std::unique_ptr<EpisodeAgent> make_off_policy_dqn(std::unique_ptr<env::Env> env, const DeepConfig& config,
                                                  uint64_t seed) {
  return std::make_unique<OffPolicyDqn>(std::move(env), config, seed);
}

}  // namespace gradus::rl
