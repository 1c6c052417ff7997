// Deterministic actor-critic. Silver et al. 2014, "Deterministic policy gradient algorithms", section 4.2 (OPDAC-Q),
// eq. 16-18; Zhao, Algorithm 10.4. Notation: s, a, r, s2 = S_t, A_t, R_{t+1}, S_{t+1};  mu(s) is the policy, q(s, a)
// its action values. Differs: the books learn from each step alone. Here steps are stored, and minibatches of them are
// learned from, which off policy means the same; and Adam takes the steps. With replay.buffer_size and batch_size 1,
// learning_starts 0, it is the books' order. Silver et al. take q linear in features that go with mu; here it is a
// network.
#include "gradus/rl/deep/deterministic_agent.h"

namespace gradus::rl {

namespace {

class Dpg final : public DeterministicAgent {
 public:
  Dpg(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed)
      : DeterministicAgent("dpg", make_env, config, 1, seed) {}

 private:
  void update(ReplayBatch& b, int64_t, TrainingStats& stats) override {
    // 1. q(s, a) towards r + gamma q(s2, mu(s2)): eq. 16, 17.
    const Tensor s2 = b.own_s2();
    fit(b, q()(s2, mu()(s2)), stats);
    // 2. theta up grad mu(s) grad_a q(s, mu(s)): eq. 18.
    mu().ascend(b.s, q(), actor_learning_rate(), stats);
  }
};

}  // namespace

std::unique_ptr<Agent> make_dpg(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed) {
  return std::make_unique<Dpg>(make_env, config, seed);
}

}  // namespace gradus::rl
