#include "gradus/rl/deep/deterministic_agent.h"

#include <algorithm>
#include <cmath>

#include "gradus/rl/agent_state.h"

namespace gradus::rl {

DeterministicActor::DeterministicActor(const NetworkConfig& c, int64_t n_inputs, int64_t action_size, uint64_t seed,
                                       run::Ranks* ranks)
    : network_(mlp_of(c, n_inputs, action_size), precision_of(c), seed),
      target_(mlp_of(c, n_inputs, action_size), precision_of(c), seed),
      descent_(network_.parameters(), c, {.beta2 = 0.999, .seed = seed}, "actor_", ranks) {}

std::span<const double> DeterministicActor::squashed(std::span<const double> outputs) {
  mu_.resize(outputs.size());
  std::ranges::transform(outputs, mu_.begin(), [](double x) { return std::tanh(x); });
  return mu_;
}

void DeterministicActor::ascend(const Tensor& s, ActionCritics& q, double learning_rate, TrainingStats& stats) {
  const auto result = descent_.run(s.dim(0), learning_rate, [&](const Rows& rows, const auto& backward) {
    const Tensor part = s.rows(rows.begin, rows.end);
    const std::span<const double> a = squashed(network_.record(part));
    const std::span<const double> d_a = q.d_first(part, a, {.B = s.dim(0), .loss_scale = descent_.loss_scale()});
    d_outputs_.resize(a.size());
    for (size_t k = 0; k < a.size(); ++k) d_outputs_[k] = d_a[k] * (1 - a[k] * a[k]);  // a = tanh(output)
    backward(network_.loss(d_outputs_));
  });
  descent_.add_metrics(result, stats);
}

void DeterministicActor::add_state(NamedTensors& state) {
  network_.add_state("actor.", state);
  target_.add_state("actor_target.", state);
  descent_.add_state("actor.adam.", state);
}

void DeterministicActor::restore(const NamedTensors& state) {
  network_.restore("actor.", state);
  target_.restore("actor_target.", state);
  descent_.restore("actor.adam.", state);
}

DeterministicAgent::DeterministicAgent(std::string_view algorithm, const env::EnvFactory& make_env, const DeepConfig& c,
                                       int64_t n_critics, uint64_t seed)
    : OffPolicyAgent(make_env, c, seed),
      mu_(c.network, n_inputs(), std::ssize(box_actions(algorithm, actions()).low), seed, c.ranks),
      q_(n_critics, c.network, n_inputs(), action_size(), seed + 1, c.ranks),
      noise_(c.noise, n_envs(), action_size()),
      y_(static_cast<size_t>(c.replay.batch_size)) {}

void DeterministicAgent::fit(ReplayBatch& b, std::span<const double> q2, TrainingStats& stats) {
  for (size_t k = 0, i = static_cast<size_t>(b.own.begin); k < q2.size(); ++k, ++i) {
    y_[i] = b.r[i] + b.discount[i] * q2[k];
  }
  q_.fit(b, y_, learning_rate(), stats);
}

void DeterministicAgent::explore(const Tensor& s, std::span<float> actions) {
  const std::span<const double> mu = mu_(s);
  const auto size = static_cast<size_t>(action_size());
  const double factor = scheduled(1, config_.schedule.sigma_share);
  for (int64_t n = 0; n < n_envs(); ++n) {
    Rng draws = rng(Purpose::sample, n);
    const std::span<const double> e = noise_.next(n, factor, draws);
    for (size_t i = 0; i < size; ++i) {
      const size_t k = static_cast<size_t>(n) * size + i;
      actions[k] = static_cast<float>(std::clamp(mu[k] + e[i], -1.0, 1.0));
    }
  }
}

void DeterministicAgent::act_greedily(const Tensor& x, std::span<float> action) {
  const std::span<const double> mu = mu_(x);
  std::ranges::transform(mu, action.begin(), [](double a) { return static_cast<float>(a); });
  units().to_space(action, action);
}

NamedTensors DeterministicAgent::state() {
  NamedTensors state = OffPolicyAgent::state();
  mu_.add_state(state);
  q_.add_state("", state);
  state.emplace_back("noise", noise_.state());
  return state;
}

void DeterministicAgent::restore(const NamedTensors& state) {
  OffPolicyAgent::restore(state);
  mu_.restore(state);
  q_.restore("", state);
  noise_.state().copy_from(find_in(state, "noise", noise_.state().shape(), DType::f64));
}

}  // namespace gradus::rl
