// Soft actor-critic. Haarnoja et al. 2018b, "Soft actor-critic algorithms and applications", Algorithm 1.
// Notation: s, a, r, s2, a2 = S_t, A_t, R_{t+1}, S_{t+1}, A_{t+1};  pi is the policy, q_1, q_2 the critics, with '
// those that follow them;  alpha is the weight of the entropy. Differs: alpha's objective is taken linear in log alpha,
// as in the authors' code: its gradient has the same sign.
#include <algorithm>
#include <cmath>

#include "gradus/rl/agent_state.h"
#include "gradus/rl/deep/optimiser_state.h"
#include "gradus/rl/deep/soft_actor.h"

namespace gradus::rl {

namespace {

class Sac final : public OffPolicyAgent {
 public:
  Sac(const env::EnvFactory& make_env, const DeepConfig& c, uint64_t seed)
      : OffPolicyAgent(make_env, c, seed),
        pi_(c.network, n_inputs(), std::ssize(box_actions("sac", actions()).low), seed, c.ranks),
        q_(2, c.network, n_inputs(), action_size(), seed + 1, c.ranks),
        log_alpha_{
            .name = "log_alpha", .value = Tensor::zeros({1}, DType::f64), .grad = Tensor::zeros({1}, DType::f64)},
        alpha_optimiser_({&log_alpha_}, {.beta2 = 0.999}),
        y_(static_cast<size_t>(c.replay.batch_size)) {
    log_alpha() = std::log(c.sac.ent_coef);
  }

  NamedTensors state() override {
    NamedTensors state = OffPolicyAgent::state();
    pi_.add_state(state);
    q_.add_state("", state);
    state.emplace_back("log_alpha", log_alpha_.value);
    add_state(alpha_optimiser_, "log_alpha.adam.", state);
    return state;
  }

  void restore(const NamedTensors& state) override {
    OffPolicyAgent::restore(state);
    pi_.restore(state);
    q_.restore("", state);
    log_alpha_.value.copy_from(find_in(state, "log_alpha", {1}, DType::f64));
    rl::restore(alpha_optimiser_, "log_alpha.adam.", state);
  }

 private:
  void update(ReplayBatch& b, int64_t k, TrainingStats& stats) override {
    const double alpha = std::exp(log_alpha());
    Rng noise = rng(Purpose::noise, k);
    // 1. y = r + gamma (min_i q'_i(s2, a2) - alpha log pi(a2|s2)), a2 ~ pi(.|s2): eq. 6, 7.
    const auto [a2, log_prob2] = pi_.draw(b.s2, b.own, noise);
    const std::span<const double> q2 = q_.target(b.own_s2(), a2);
    for (size_t j = 0, i = static_cast<size_t>(b.own.begin); j < q2.size(); ++j, ++i) {
      y_[i] = b.r[i] + b.discount[i] * (q2[j] - alpha * log_prob2[j]);
    }
    q_.fit(b, y_, learning_rate(), stats);
    // 2. pi down the mean of alpha log pi(a|s) - min_i q_i(s, a), a ~ pi(.|s): eq. 9.
    const double entropy = pi_.descend(b.s, q_, {.alpha = alpha, .learning_rate = actor_learning_rate()}, noise, stats);
    // 3. alpha up where the entropy is less than it should be: eq. 18.
    if (config_.sac.auto_entropy) {
      log_alpha_.grad.data<double>()[0] = entropy - config_.sac.target_entropy * static_cast<double>(action_size());
      alpha_optimiser_.step(learning_rate());
    }
    // 4. w' <- tau w + (1 - tau) w'.
    q_.follow(replay().tau);
    stats.add_mean("entropy", entropy);
    stats.add_mean("ent_coef", alpha);
  }

  void explore(const Tensor& s, std::span<float> actions) override {
    const auto n = static_cast<size_t>(action_size());
    for (int64_t env = 0; env < n_envs(); ++env) {
      Rng draws = rng(Purpose::sample, env);
      copy(pi_.draw(s.rows(env, env + 1), draws).a, actions.subspan(static_cast<size_t>(env) * n, n));
    }
  }

  void act_greedily(const Tensor& x, std::span<float> action) override {
    copy(pi_.mean(x), action);
    units().to_space(action, action);
  }

  static void copy(std::span<const double> from, std::span<float> to) {
    std::ranges::transform(from, to.begin(), [](double a) { return static_cast<float>(a); });
  }
  double& log_alpha() { return log_alpha_.value.data<double>()[0]; }

  SoftActor pi_;
  ActionCritics q_;
  autograd::Parameter log_alpha_;
  optim::AdamW alpha_optimiser_;
  std::vector<double> y_;  // [B] what q_i(s, a) should be, of this rank's rows
};

}  // namespace

std::unique_ptr<Agent> make_sac(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed) {
  return std::make_unique<Sac>(make_env, config, seed);
}

}  // namespace gradus::rl
