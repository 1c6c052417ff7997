#include "gradus/rl/deep/on_policy_agent.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "gradus/core/error.h"
#include "gradus/rl/agent_state.h"
#include "gradus/rl/terminal_states.h"

namespace gradus::rl {

namespace {

const DeepConfig& checked(const DeepConfig& c) {
  c.check();
  return c;
}

int64_t critic_outputs(OnPolicyAgent::Own::Critic critic, const env::Space& actions) {
  if (critic == OnPolicyAgent::Own::Critic::state_values) return 1;
  const auto* numbers = std::get_if<env::Discrete>(&actions);
  require(numbers != nullptr, "the actions are {}, but this algorithm has a value for each of a Discrete set",
          to_string(actions));
  return numbers->n;
}

std::vector<autograd::Parameter*> trained(const OnPolicyAgent::Own& own, Policy& policy, Network& critic) {
  std::vector<autograd::Parameter*> all = own.descends ? policy.parameters() : std::vector<autograd::Parameter*>();
  for (autograd::Parameter* p : critic.parameters()) all.push_back(p);
  return all;
}

}  // namespace

OnPolicyAgent::OnPolicyAgent(const env::EnvFactory& make_env, const DeepConfig& config, const Own& own, uint64_t seed)
    : VecAgent(make_env, checked(config), seed),
      own_(own),
      policy_(mlp_of(config.network, n_inputs(), 1), actions(), precision_of(config.network),
              config.on_policy.log_std_init, seed),
      critic_(mlp_of(config.network, n_inputs(), critic_outputs(own.critic, actions())), precision_of(config.network),
              seed + 1),
      rollout_(config.on_policy.n_steps > 0 ? config.on_policy.n_steps : own.n_steps, n_envs(), n_inputs(),
               policy_.head().action_size()),
      descent_(trained(own, policy_, critic_), config.network, {.beta2 = 0.999, .eps = 1e-5, .seed = seed}, "",
               config.ranks) {}

int64_t OnPolicyAgent::train(int64_t done, int64_t until, uint64_t, TrainingStats& stats) {
  for (; done < until; done += rollout_.rows()) {
    collect(stats);
    improve(stats);
  }
  return done;
}

double OnPolicyAgent::act(std::span<const double> outputs, Rng& rng, std::span<float> action) {
  return policy_.head().sample(outputs, policy_.deviations(), rng, action);
}

void OnPolicyAgent::collect(TrainingStats& stats) {
  Rollout& r = rollout_;
  policy_.network().mlp().pack();
  r.cut.clear();
  r.cut_x.clear();
  const auto size = static_cast<size_t>(r.actions.dim(1)), inputs = static_cast<size_t>(n_inputs());
  for (int64_t t = 0; t < r.T; ++t) {
    const auto first = static_cast<size_t>(t * r.N), envs = static_cast<size_t>(r.N);
    Tensor x = r.x.rows(t * r.N, (t + 1) * r.N);
    const std::span<float> actions = r.actions.span<float>().subspan(first * size, envs * size);
    see(observations(), x.span<float>());
    const std::span<const double> outputs = policy_.forward(x);
    for (size_t n = 0; n < envs; ++n) {
      Rng draws = rng(Purpose::sample, static_cast<int64_t>(n));
      r.log_probs[first + n] =
          act(policy_.row(outputs, static_cast<int64_t>(n)), draws, actions.subspan(n * size, size));
    }
    const env::VecStep& m = step(actions, stats);
    for (size_t n = 0; n < envs; ++n) {
      r.rewards[first + n] = rewards()[n];
      r.terminated[first + n] = m.terminated[n];
      r.truncated[first + n] = m.truncated[n];
      if (r.terminated[first + n] || !r.truncated[first + n]) continue;
      r.cut.push_back(static_cast<int64_t>(first + n));
      r.cut_x.resize(r.cut_x.size() + inputs);
      see(m.next_observation(static_cast<int64_t>(n)), std::span(r.cut_x).last(inputs));
    }
  }
  see(observations(), r.last_x.span<float>());
}

void OnPolicyAgent::estimate_advantages() {
  value(rollout_, [this](const Tensor& x) { return critic_.forward(x); });
  generalized_advantages(rollout_, config_.learner.gamma, c().gae_lambda < 0 ? own_.gae_lambda : c().gae_lambda,
                         advantages_);
  returns_.resize(advantages_.size());
  for (size_t i = 0; i < returns_.size(); ++i) returns_[i] = advantages_[i] + rollout_.values[i];
}

void OnPolicyAgent::gather(std::span<const int64_t> rows) {
  const int64_t n = std::ssize(rows), inputs = n_inputs();
  if (!batch_x_.defined() || batch_x_.dim(0) != n) batch_x_ = Tensor::empty({n, inputs});
  float* to = batch_x_.data<float>();
  for (const int64_t row : rows) to = std::copy_n(rollout_.x.data<float>() + row * inputs, inputs, to);
}

void OnPolicyAgent::begin_batch(std::span<const int64_t> rows, const Rows& part) {
  batch_.n = static_cast<double>(rows.size());
  batch_.first = part.begin;
  batch_.rows = part.of(rows);
  gather(batch_.rows);
  batch_.outputs = policy_.record(batch_x_);
  batch_.values = critic_.record(batch_x_);
  const auto zeros = [](std::vector<double>& x, size_t n) {
    x.assign(n, 0.0);
    return std::span(x);
  };
  batch_.d_outputs = zeros(d_outputs_, batch_.outputs.size());
  batch_.d_log_std = zeros(d_log_std_, policy_.deviations().size());
  batch_.d_values = zeros(d_values_, batch_.values.size());
}

double OnPolicyAgent::log_prob(const Batch& b, size_t k) const {
  return policy_.head().log_prob(policy_.row(b.outputs, static_cast<int64_t>(k)), policy_.deviations(),
                                 action(b.rows[k]));
}

double OnPolicyAgent::entropy(const Batch& b, size_t k) const {
  return policy_.head().entropy(policy_.row(b.outputs, static_cast<int64_t>(k)), policy_.deviations());
}

void OnPolicyAgent::add_policy_gradient(Batch& b, size_t k, double by_log_prob, double by_entropy) {
  const auto n = static_cast<size_t>(policy_.head().n_outputs());
  policy_.head().add_gradient(policy_.row(b.outputs, static_cast<int64_t>(k)), policy_.deviations(), action(b.rows[k]),
                              by_log_prob, by_entropy, b.d_outputs.subspan(k * n, n), b.d_log_std);
}

double OnPolicyAgent::mismatch(const Batch& b, size_t k) const {
  return std::abs(log_prob(b, k) - rollout_.log_probs[static_cast<size_t>(b.rows[k])]);
}

void OnPolicyAgent::fit_critic(std::span<const int64_t> rows, TrainingStats& stats) {
  const auto n = static_cast<double>(rows.size());
  numbers_.begin(std::ssize(rows), 1);
  const auto accumulate = [&](const Rows& part, const auto& backward) {
    gather(part.of(rows));
    const std::span<const double> values = critic_.record(batch_x_);
    d_values_.resize(values.size());
    for (size_t k = 0; k < values.size(); ++k) {
      const int64_t i = part.begin + static_cast<int64_t>(k);
      const double error = returns_[static_cast<size_t>(rows[static_cast<size_t>(i)])] - values[k];
      d_values_[k] = -2 * error / n;
      numbers_(0, i) = error;
    }
    backward(critic_.loss(d_values_));
  };
  const run::TrainStepResult result = descent_.run(std::ssize(rows), learning_rate(), accumulate, &numbers_);
  stats.add_root_mean_square("value_loss", numbers_.sum_of_squares(0), n);
  descent_.add_scaling_metrics(result, stats);
}

void OnPolicyAgent::get_distribution(Distribution& d) {
  const std::span<const double> outputs = policy_.forward(rollout_.x);
  d.outputs.assign(outputs.begin(), outputs.end());
  d.deviations = policy_.deviations();
}

double OnPolicyAgent::log_ratio(const Distribution& now, int64_t i) const {
  return policy_.head().log_prob(row(now, i), now.deviations, action(i)) - rollout_.log_probs[static_cast<size_t>(i)];
}

double OnPolicyAgent::mean_kl(const Distribution& old, const Distribution& now) const {
  double sum = 0;
  for (int64_t i = 0; i < rollout_.rows(); ++i) {
    sum += policy_.head().kl(row(old, i), old.deviations, row(now, i), now.deviations);
  }
  return sum / static_cast<double>(rollout_.rows());
}

std::span<int64_t> OnPolicyAgent::all_rows() {
  rows_.resize(static_cast<size_t>(rollout_.rows()));
  std::iota(rows_.begin(), rows_.end(), 0);
  return rows_;
}

std::span<const float> OnPolicyAgent::action(int64_t row) const {
  const auto n = static_cast<size_t>(rollout_.actions.dim(1));
  return rollout_.actions.span<float>().subspan(static_cast<size_t>(row) * n, n);
}

void OnPolicyAgent::act_greedily(const Tensor& x, std::span<float> action) {
  policy_.head().mode(policy_.forward(x), action);
}

std::vector<double> OnPolicyAgent::V() {
  if (mdp() == nullptr) return {};
  const std::span<const double> values = critic_.forward(all_states());
  std::vector<double> V(values.begin(), values.end());
  zero_terminal(*mdp(), V);
  return V;
}

Table OnPolicyAgent::pi() {
  if (mdp() == nullptr) return {};
  const std::span<const double> outputs = policy_.forward(all_states());
  Table pi(mdp()->n_states(), policy_.head().n_outputs());
  for (int64_t s = 0; s < pi.n_states(); ++s) {
    for (int64_t a = 0; a < pi.n_actions(); ++a) {
      const auto action = static_cast<float>(a);
      pi(s, a) = std::exp(policy_.head().log_prob(policy_.row(outputs, s), {}, {&action, 1}));
    }
  }
  return pi;
}

NamedTensors OnPolicyAgent::state() {
  NamedTensors state = VecAgent::state();
  policy_.add_state("policy.", state);
  critic_.add_state("critic.", state);
  descent_.add_state("adam.", state);
  return state;
}

void OnPolicyAgent::restore(const NamedTensors& state) {
  VecAgent::restore(state);
  policy_.restore("policy.", state);
  critic_.restore("critic.", state);
  descent_.restore("adam.", state);
}

void shuffle(std::span<int64_t> rows, Rng& rng) {
  for (auto i = std::ssize(rows) - 1; i > 0; --i) {
    std::swap(rows[static_cast<size_t>(i)], rows[static_cast<size_t>(rng.below(i + 1))]);
  }
}

}  // namespace gradus::rl
