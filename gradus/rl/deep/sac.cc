// Soft actor-critic. Haarnoja et al. 2018b, "Soft actor-critic algorithms and applications", Algorithm 1.
// Notation: s, a, r, s2 = S_t, A_t, R_{t+1}, S_{t+1};  pi is the policy (squashed_gaussian.h), q_1, q_2 the critics,
// with ' those that follow them;  alpha is the weight of the entropy.
// Differs: what is descended on for alpha is linear in log alpha, as the paper's authors' code has it: the same sign.
#include "gradus/core/error.h"
#include "gradus/kernels/elementwise.h"
#include "gradus/rl/agent_state.h"
#include "gradus/rl/deep/action_critic.h"
#include "gradus/rl/deep/optimiser_state.h"
#include "gradus/rl/deep/squashed_gaussian.h"

namespace gradus::rl {

namespace {

class Sac final : public OffPolicyAgent {
 public:
  Sac(const env::EnvFactory& make_env, const DeepConfig& c, uint64_t seed)
      : OffPolicyAgent(make_env, c, seed),
        n_(box_actions("sac", actions()).low.size()),
        pi_(mlp_of(c.network, n_inputs(), 2 * action_size()), precision_of(c.network), seed),
        pi_optimiser_(pi_.parameters(), {.beta2 = 0.999, .seed = seed}),
        pi_step_(pi_optimiser_, {.clip_norm = c.network.clip_norm}),
        q_(2, c.network, n_inputs(), action_size(), seed + 1),
        log_alpha_{
            .name = "log_alpha", .value = Tensor::zeros({1}, DType::f64), .grad = Tensor::zeros({1}, DType::f64)},
        alpha_optimiser_({&log_alpha_}, {.beta2 = 0.999}),
        y_(static_cast<size_t>(c.replay.batch_size)) {
    log_alpha() = std::log(c.sac.ent_coef);
  }

  NamedTensors state() override {
    NamedTensors state = OffPolicyAgent::state();
    pi_.add_state("actor.", state);
    add_state(pi_optimiser_, "actor.adam.", state);
    q_.add_state("", state);
    state.emplace_back("log_alpha", log_alpha_.value);
    add_state(alpha_optimiser_, "log_alpha.adam.", state);
    return state;
  }

  void restore(const NamedTensors& state) override {
    OffPolicyAgent::restore(state);
    pi_.restore("actor.", state);
    rl::restore(pi_optimiser_, "actor.adam.", state);
    q_.restore("", state);
    log_alpha_.value.copy_from(find_in(state, "log_alpha", {1}, DType::f64));
    rl::restore(alpha_optimiser_, "log_alpha.adam.", state);
  }

 private:
  void update(ReplayBatch& b, int64_t k, TrainingStats& stats) override {
    const auto B = static_cast<double>(b.size());
    const double alpha = std::exp(log_alpha());
    Rng noise = rng(Purpose::noise, k);
    // 1. y = r + gamma (min_i q'_i(s2, a2) - alpha log pi(a2|s2)), a2 ~ pi(.|s2): eq. 7.
    draw(pi_.forward(b.s2), noise);
    const std::span<const double> q2 = q_.target(b.s2, a_);
    for (size_t i = 0; i < y_.size(); ++i) y_[i] = b.r[i] + b.discount[i] * (q2[i] - alpha * log_prob_[i]);
    q_.fit(b, y_, learning_rate(), stats);
    // 2. pi down the mean of alpha log pi(a|s) - min_i q_i(s, a), a ~ pi(.|s): eq. 9.
    const run::TrainStepResult result =
        pi_step_.run(pi_optimiser_.steps(), actor_learning_rate(), [&](int64_t, const auto& backward) {
          const std::span<const double> out = pi_.record(b.s);
          draw(out, noise);
          const std::span<const double> d_a = q_.d_least(b.s, a_);
          d_out_.resize(out.size());
          for (size_t i = 0; i < b.size(); ++i) {
            squash_backward(out.subspan(2 * i * n_, 2 * n_), row(e_, i), row(a_, i), alpha / B, d_a.subspan(i * n_, n_),
                            std::span(d_out_).subspan(2 * i * n_, 2 * n_));
          }
          backward(pi_.loss(d_out_));
        });
    // 3. alpha up where the entropy is less than it should be: eq. 18.
    double entropy = 0;
    for (const double x : log_prob_) entropy -= x / B;
    if (config_.sac.auto_entropy) {
      log_alpha_.grad.data<double>()[0] = entropy - config_.sac.target_entropy * static_cast<double>(n_);
      alpha_optimiser_.step(learning_rate());
    }
    // 4. w' <- tau w + (1 - tau) w'.
    q_.follow(replay().tau);
    stats.add_mean("actor_grad_norm", result.grad_norm);
    stats.add_mean("entropy", entropy);
    stats.add_mean("ent_coef", alpha);
  }

  // a_ and log_prob_ of each row of outputs, by e_ ~ N(0, I).
  void draw(std::span<const double> out, Rng& rng) {
    const size_t rows = out.size() / (2 * n_);
    e_.resize(rows * n_);
    a_.resize(rows * n_);
    log_prob_.resize(rows);
    for (double& e : e_) e = rng.normal();
    for (size_t i = 0; i < rows; ++i) {
      log_prob_[i] = squash(out.subspan(2 * i * n_, 2 * n_), row(e_, i), std::span(a_).subspan(i * n_, n_));
    }
  }

  void explore(const Tensor& s, std::span<float> actions) override {
    const std::span<const double> out = pi_.forward(s);
    e_.resize(n_);
    a_.resize(n_);
    for (int64_t env = 0; env < n_envs(); ++env) {
      const auto i = static_cast<size_t>(env);
      Rng draws = rng(Purpose::sample, env);
      for (double& e : e_) e = draws.normal();
      squash(out.subspan(2 * i * n_, 2 * n_), e_, a_);
      std::ranges::transform(a_, actions.begin() + static_cast<int64_t>(i * n_),
                             [](double a) { return static_cast<float>(a); });
    }
  }

  void act_greedily(const Tensor& x, std::span<float> action) override {
    a_.resize(n_);
    squash_mean(pi_.forward(x), a_);
    std::ranges::transform(a_, action.begin(), [](double a) { return static_cast<float>(a); });
    units().to_space(action, action);
  }

  std::span<const double> row(const std::vector<double>& x, size_t i) const { return std::span(x).subspan(i * n_, n_); }
  double& log_alpha() { return log_alpha_.value.data<double>()[0]; }

  const size_t n_;  // numbers of an action
  Network pi_;
  optim::AdamW pi_optimiser_;
  run::TrainStep pi_step_;
  ActionCritics q_;
  autograd::Parameter log_alpha_;
  optim::AdamW alpha_optimiser_;
  std::vector<double> y_;                 // [B]
  std::vector<double> e_, a_, log_prob_;  // of the last draw
  std::vector<double> d_out_;             // [B * 2 n]
};

}  // namespace

std::unique_ptr<Agent> make_sac(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed) {
  return std::make_unique<Sac>(make_env, config, seed);
}

}  // namespace gradus::rl
