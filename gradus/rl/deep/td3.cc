// Twin delayed deep deterministic policy gradient. Fujimoto et al. 2018, "Addressing function approximation error in
// actor-critic methods", Algorithm 1.
// Notation: s, a, r, s2 = S_t, A_t, R_{t+1}, S_{t+1};  mu, q_1, q_2 are the networks, with ' those that follow them.
#include "gradus/core/error.h"
#include "gradus/rl/agent_state.h"
#include "gradus/rl/deep/deterministic_agent.h"

namespace gradus::rl {

namespace {

class Td3 final : public DeterministicAgent {
 public:
  Td3(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed)
      : DeterministicAgent("td3", make_env, config, 2, seed) {}

  NamedTensors state() override {
    NamedTensors state = DeterministicAgent::state();
    state.emplace_back("updates", Tensor::from<int64_t>({&updates_, 1}, {1}));
    return state;
  }
  void restore(const NamedTensors& state) override {
    DeterministicAgent::restore(state);
    updates_ = find_in(state, "updates", {1}, DType::i64).data<int64_t>()[0];
  }

 private:
  void update(ReplayBatch& b, int64_t k, TrainingStats& stats) override {
    const Td3Config& c = config_.td3;
    // 1. a2 = mu'(s2) + e, e ~ clip(N(0, sigma), -c, c), within the bounds; e is drawn for all ranks' rows.
    const Tensor s2 = b.own_s2();
    const std::span<const double> mu2 = mu().target(s2);
    a2_.assign(mu2.begin(), mu2.end());
    e_.resize(b.a.size());
    Rng noise = rng(Purpose::noise, k);
    for (double& e : e_) e = noise.normal();
    const std::span<const double> own_e = b.own.of(e_, action_size());
    for (size_t i = 0; i < a2_.size(); ++i) {
      const double e = std::clamp(c.target_policy_noise * own_e[i], -c.target_noise_clip, c.target_noise_clip);
      a2_[i] = std::clamp(a2_[i] + e, -1.0, 1.0);
    }
    // 2. y = r + gamma min_i q'_i(s2, a2); both critics down the mean of (y - q_i(s, a))^2.
    fit(b, q().target(s2, a2_), stats);
    if (++updates_ % c.policy_delay != 0) return;
    // 3. mu up grad_a q_1(s, mu(s)), and the targets: w' <- tau w + (1 - tau) w'.
    mu().ascend(b.s, q(), actor_learning_rate(), stats);
    q().follow(replay().tau);
    mu().follow(replay().tau);
  }

  int64_t updates_ = 0;
  std::vector<double> a2_, e_;  // [own rows * action_size], [B * action_size]
};

}  // namespace

std::unique_ptr<Agent> make_td3(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed) {
  return std::make_unique<Td3>(make_env, config, seed);
}

}  // namespace gradus::rl
