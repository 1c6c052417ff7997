// Deep deterministic policy gradient. Lillicrap et al. 2016, "Continuous control with deep reinforcement learning",
// Algorithm 1.
// Notation: s, a, r, s2 = S_t, A_t, R_{t+1}, S_{t+1};  mu, q are the networks, mu', q' those that follow them.
// Differs: the action enters the first layer of q, not the second; no batch normalisation, no weight decay.
#include "gradus/rl/deep/deterministic_agent.h"

namespace gradus::rl {

namespace {

class Ddpg final : public DeterministicAgent {
 public:
  Ddpg(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed)
      : DeterministicAgent("ddpg", make_env, config, 1, seed) {}

 private:
  void update(ReplayBatch& b, int64_t, TrainingStats& stats) override {
    // 1. y = r + gamma q'(s2, mu'(s2)); q down the mean of (y - q(s, a))^2.
    const Tensor s2 = b.own_s2();
    fit(b, q().target(s2, mu().target(s2)), stats);
    // 2. mu up the sampled policy gradient.
    mu().ascend(b.s, q(), actor_learning_rate(), stats);
    // 3. w' <- tau w + (1 - tau) w'.
    q().follow(replay().tau);
    mu().follow(replay().tau);
  }
};

}  // namespace

std::unique_ptr<Agent> make_ddpg(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed) {
  return std::make_unique<Ddpg>(make_env, config, seed);
}

}  // namespace gradus::rl
