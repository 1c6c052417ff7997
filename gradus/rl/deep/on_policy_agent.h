// The frame of the algorithms that act for a while, learn from that, and forget it: what they collect, the policy, the
// critic and their optimiser. What they learn, and how, is in a file for each.
#pragma once

#include <memory>
#include <vector>

#include "gradus/rl/deep/gradient_descent.h"
#include "gradus/rl/deep/policy.h"
#include "gradus/rl/deep/rollout.h"
#include "gradus/rl/deep/vec_agent.h"

namespace gradus::rl {

class OnPolicyAgent : public VecAgent {
 public:
  // What an algorithm takes where the settings leave it to it, and what is its nature.
  struct Own {
    int64_t n_steps = 2048;
    double gae_lambda = 0.95;
    enum class Critic { state_values, action_values } critic = Critic::state_values;
    bool descends = true;  // the optimiser has policy and critic; else the critic alone
  };
  // Throws invalid_argument on settings out of range, and on action values where actions are no numbers of a set.
  OnPolicyAgent(const env::EnvFactory& make_env, const DeepConfig& config, const Own& own, uint64_t seed);

  int64_t train(int64_t done, int64_t until, uint64_t seed, TrainingStats& stats) final;

  std::vector<double> V() override;
  Table Q() override { return {}; }
  Table pi() final;

  NamedTensors state() override;
  void restore(const NamedTensors& state) override;

 protected:
  // Learns from rollout().
  virtual void improve(TrainingStats& stats) = 0;
  // Draws an action; returns the logarithm of its probability. By the policy, if an algorithm does not say otherwise.
  //   outputs  [n_outputs] of the policy in the state
  virtual double act(std::span<const double> outputs, Rng& rng, std::span<float> action);

  // 1. Values of all that was collected, their advantages A_t by GAE, and the returns A_t + v(S_t): [rows].
  void estimate_advantages();
  std::vector<double> advantages_, returns_;

  // 2. Descent on policy and critic.
  // A minibatch, or what a shard has of it, after both forward passes, and the gradients of the loss, zeros at first.
  struct Batch {
    double n;                         // rows of the whole minibatch
    int64_t first;                    // of them, position 0 here
    std::span<const int64_t> rows;    // of the rollout
    std::span<const double> outputs;  // [rows, n_outputs] of the policy
    std::span<const double> values;   // [rows, outputs] of the critic
    std::span<double> d_outputs, d_log_std, d_values;
  };
  // One step of the optimiser.   gradients(batch) fills in batch.d_..., and `n_numbers` numbers of each of its rows for
  // statistics, by `number`; afterwards `numbers` has those of all rows of the minibatch.
  template <class Gradients>
  run::TrainStepResult descend(std::span<const int64_t> rows, size_t n_numbers, Gradients&& gradients) {
    numbers_.begin(std::ssize(rows), n_numbers);
    const auto accumulate = [&](const Rows& part, const auto& backward) {
      begin_batch(rows, part);
      gradients(batch_);
      if (policy_.log_std() != nullptr) descent_.prepare_gradient(*policy_.log_std());
      backward(policy_.loss(batch_.d_outputs, batch_.d_log_std, descent_.loss_scale()));
      backward(critic_.loss(batch_.d_values));
    };
    return descent_.run(std::ssize(rows), learning_rate(), accumulate, &numbers_);
  }
  double& number(size_t which, const Batch& b, size_t k) { return numbers_(which, b.first + static_cast<int64_t>(k)); }
  const RowNumbers& numbers() const { return numbers_; }
  void add_metrics(const run::TrainStepResult& result, TrainingStats& stats) { descent_.add_metrics(result, stats); }
  // Of position k of a batch: log pi(A_t|S_t), the entropy, and
  // d_outputs += by_log_prob * grad log pi(A_t|S_t) + by_entropy * grad entropy.
  double log_prob(const Batch& batch, size_t k) const;
  double entropy(const Batch& batch, size_t k) const;
  void add_policy_gradient(Batch& batch, size_t k, double by_log_prob, double by_entropy);
  // The difference between its log-probability and what it was when the action was drawn; 0 before any update.
  double mismatch(const Batch& batch, size_t k) const;
  // One step of the optimiser on mean((R - v)^2) alone.
  void fit_critic(std::span<const int64_t> rows, TrainingStats& stats);

  // 3. The policy in all rows at once.
  struct Distribution {
    std::vector<double> outputs;
    Deviations deviations;
  };
  void get_distribution(Distribution& d);
  std::span<const double> row(const Distribution& d, int64_t i) const { return policy_.row(d.outputs, i); }
  double log_ratio(const Distribution& now, int64_t i) const;  // of pi(A_t|S_t) to what it was when drawn
  double mean_kl(const Distribution& old, const Distribution& now) const;

  Rollout& rollout() { return rollout_; }
  const Rollout& rollout() const { return rollout_; }
  std::span<const float> action(int64_t row) const;
  std::span<int64_t> all_rows();  // in their order; valid, and free to be changed, until the next call
  Policy& policy() { return policy_; }
  Network& critic() { return critic_; }
  const OnPolicyConfig& c() const { return config_.on_policy; }
  double ent_coef() const { return scheduled(c().ent_coef, config_.schedule.ent_coef_share); }  // now

 private:
  void collect(TrainingStats& stats);
  void gather(std::span<const int64_t> rows);
  void begin_batch(std::span<const int64_t> rows, const Rows& part);
  void act_greedily(const Tensor& x, std::span<float> action) final;
  double learning_rate() const { return scheduled_rate(config_.network.learning_rate); }

  const Own own_;
  Policy policy_;
  Network critic_;
  Rollout rollout_;
  GradientDescent descent_;
  Batch batch_{};
  RowNumbers numbers_;  // of the last minibatch
  Tensor batch_x_;
  std::vector<int64_t> rows_;
  std::vector<double> d_outputs_, d_log_std_, d_values_;
};

// The rows in a random order. Fisher & Yates.
void shuffle(std::span<int64_t> rows, Rng& rng);

}  // namespace gradus::rl
