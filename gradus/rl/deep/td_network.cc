// Semi-gradient TD(0) with a network of state values, prediction of a policy. Sutton & Barto, 2nd ed., section 9.3;
// Zhao, section 8.2, eq. (8.13).
// Differs: the books move w after each step by that step alone. Here a step is stored, and minibatches of stored steps
// are learned from, which on policy means the same; what follows is valued by a target network, and Adam takes the
// steps. With replay.buffer_size, batch_size and target_update_interval 1, learning_starts 0, it is the books' order.
#include "gradus/rl/deep/replay_agent.h"

namespace gradus::rl {

namespace {

class TdNetwork final : public ReplayAgent {
  // y = r + gamma v(s2, w_T)
  auto td_targets() const {
    return [gamma = config_.learner.gamma](const Minibatch& batch, std::span<const double> v2, std::span<double> y) {
      for (size_t i = 0; i < y.size(); ++i) y[i] = batch.terminated[i] ? batch.r[i] : batch.r[i] + gamma * v2[i];
    };
  }

 public:
  TdNetwork(std::unique_ptr<env::Env> env, const DeepConfig& config, uint64_t seed)
      : ReplayAgent(std::move(env), config, Values::of_states, seed),
        pi_(mdp(), this->env().spec(), config.learner.policy, config.learner.policy_eps, config.learner.gamma) {}

  EpisodeStats learn_episode(Rng& rng) override {
    EpisodeStats stats;
    EpisodeEnv env{this->env(), rng};
    begin(env);
    while (true) {
      const env::StepResult m = step(env, pi_(points()->state(), rng));
      stats.add(m);
      learn(td_targets(), rng, stats);
      if (m.terminated || m.truncated) return stats;
    }
  }

  bool has_policy() const override { return false; }

 private:
  std::vector<double> state_values() override {
    const Table V = values_of_all();
    return {V.values().begin(), V.values().end()};
  }
  Table action_values() override { return {}; }

  const GivenPolicy pi_;
};

}  // namespace

std::unique_ptr<EpisodeAgent> make_td_network(std::unique_ptr<env::Env> env, const DeepConfig& config, uint64_t seed) {
  return std::make_unique<TdNetwork>(std::move(env), config, seed);
}

}  // namespace gradus::rl
