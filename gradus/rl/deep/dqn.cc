// Deep Q-learning. Mnih et al. 2015, "Human-level control through deep reinforcement learning", Algorithm 1; Zhao,
// section 8.4. With what was found to help: double (van Hasselt et al. 2016, "Deep reinforcement learning with double
// Q-learning", eq. 4) and dueling (dueling.h); prioritised replay and n-step returns are off_policy_agent.h's.
// Notation: w, w_T are the weights of the network and of the target network;  s, a, r, s2 = S_t, A_t, R_{t+1}, S_{t+1}.
// Differs from Mnih et al.: Adam takes the steps.
#include <algorithm>
#include <cmath>

#include "gradus/core/error.h"
#include "gradus/rl/deep/dueling.h"
#include "gradus/rl/deep/gradient_descent.h"
#include "gradus/rl/deep/network.h"
#include "gradus/rl/deep/off_policy_agent.h"
#include "gradus/rl/terminal_states.h"

namespace gradus::rl {

namespace {

size_t greedy_of(std::span<const double> q) {
  return static_cast<size_t>(std::ranges::max_element(q) - q.begin());
}

class Dqn final : public OffPolicyAgent {
 public:
  Dqn(const env::EnvFactory& make_env, const DeepConfig& c, uint64_t seed)
      : OffPolicyAgent(make_env, c, seed),
        n_(static_cast<size_t>(discrete_actions("dqn", actions()).n)),
        network_(mlp_of(c.network, n_inputs(), static_cast<int64_t>(n_) + (c.dqn.dueling ? 1 : 0)),
                 precision_of(c.network), seed),
        target_(network_.mlp().config(), precision_of(c.network), seed),
        descent_(network_.parameters(), c.network, {.beta2 = 0.999, .seed = seed}, "", c.ranks),
        y_(static_cast<size_t>(c.replay.batch_size)) {
    require(!c.network.action_as_input,
            "dqn: network.action_as_input is for off-policy-dqn; here each action has an "
            "output");
  }

  std::vector<double> V() override {
    if (mdp() == nullptr) return {};
    return greatest_values(Q());
  }
  Table Q() override {
    if (mdp() == nullptr) return {};
    Table Q(mdp()->n_states(), static_cast<int64_t>(n_));
    std::ranges::copy(values(network_.forward(all_states()), q_), Q.values().begin());
    zero_terminal(*mdp(), Q);
    return Q;
  }

  NamedTensors state() override {
    NamedTensors state = OffPolicyAgent::state();
    network_.add_state("network.", state);
    target_.add_state("target.", state);
    descent_.add_state("adam.", state);
    return state;
  }
  void restore(const NamedTensors& state) override {
    OffPolicyAgent::restore(state);
    network_.restore("network.", state);
    target_.restore("target.", state);
    descent_.restore("adam.", state);
  }

 private:
  // With probability eps a random action, else argmax_a q(s, a, w).
  void explore(const Tensor& s, std::span<float> actions) override {
    const double eps = config_.exploration.eps(progress());
    const std::span<const double> q = values(network_.forward(s), q_);
    for (size_t i = 0; i < actions.size(); ++i) {
      Rng draws = rng(Purpose::sample, static_cast<int64_t>(i));
      const bool tries = draws.uniform() < eps;
      actions[i] = static_cast<float>(tries ? static_cast<size_t>(draws.below(static_cast<int64_t>(n_)))
                                            : greedy_of(q.subspan(i * n_, n_)));
    }
  }

  void update(ReplayBatch& b, int64_t, TrainingStats& stats) override {
    // 1. y = r + gamma max_a q(s2, a, w_T); double: q(s2, argmax_a q(s2, a, w), w_T).
    const Tensor s2 = b.own_s2();
    const std::span<const double> q2 = values(target_.forward(s2), q2_);
    const std::span<const double> choice = config_.dqn.double_q ? values(network_.forward(s2), q_) : q2;
    for (size_t k = 0, i = static_cast<size_t>(b.own.begin); k < q2.size(); k += n_, ++i) {
      y_[i] = b.r[i] + b.discount[i] * q2[k + greedy_of(choice.subspan(k, n_))];
    }
    // 2. w down the mean of (y - q(s, a, w))^2 / 2, or of Huber's: delta cut at 1 in its gradient.
    enum : size_t { kDelta, kQ, kNumbers };
    const auto B = static_cast<double>(b.size());
    numbers_.begin(std::ssize(b.r), kNumbers);
    const auto accumulate = [&](const Rows& rows, const auto& backward) {
      const std::span<const double> q = values(network_.record(b.s.rows(rows.begin, rows.end)), q_);
      d_q_.assign(q.size(), 0.0);
      for (int64_t row = rows.begin; row < rows.end; ++row) {
        const auto i = static_cast<size_t>(row);
        const size_t k = static_cast<size_t>(row - rows.begin) * n_ + static_cast<size_t>(b.a[i]);
        const double delta = numbers_(kDelta, row) = y_[i] - q[k];
        const double slope = config_.dqn.huber ? std::clamp(delta, -1.0, 1.0) : delta;
        d_q_[k] = -b.weight[i] * slope / B;
        numbers_(kQ, row) = q[k];
      }
      backward(network_.loss(d_outputs()));
    };
    const run::TrainStepResult result = descent_.run(std::ssize(b.r), learning_rate(), accumulate, &numbers_);
    std::ranges::copy(numbers_.column(kDelta), b.error.begin());
    stats.add_root_mean_square("td_error", numbers_.sum_of_squares(kDelta), B);
    stats.add_mean("q", numbers_.sum(kQ) / B, B);
    descent_.add_metrics(result, stats);
    // 3. Every C updates w_T <- w.
    if (descent_.steps() % replay().target_update_interval == 0) target_.mlp().follow(network_.mlp());
  }

  // q of a network's outputs: [rows * n_]. They are it, or are put into `q`.
  std::span<const double> values(std::span<const double> outputs, std::vector<double>& q) const {
    if (!config_.dqn.dueling) return outputs;
    q.resize(outputs.size() / (1 + n_) * n_);
    duel(outputs, n_, q);
    return q;
  }
  std::span<const double> d_outputs() {
    if (!config_.dqn.dueling) return d_q_;
    d_out_.resize(d_q_.size() / n_ * (1 + n_));
    duel_backward(d_q_, n_, d_out_);
    return d_out_;
  }

  void act_greedily(const Tensor& x, std::span<float> action) override {
    action[0] = static_cast<float>(greedy_of(values(network_.forward(x), q_)));
  }

  const size_t n_;  // actions
  Network network_, target_;
  GradientDescent descent_;
  RowNumbers numbers_;                        // of the last minibatch
  std::vector<double> y_;                     // [B], of this rank's rows
  std::vector<double> q_, q2_, d_q_, d_out_;  // [rows * n_], and [B * outputs]
};

}  // namespace

std::unique_ptr<Agent> make_dqn(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed) {
  return std::make_unique<Dqn>(make_env, config, seed);
}

}  // namespace gradus::rl
