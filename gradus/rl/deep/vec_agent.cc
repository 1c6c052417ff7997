#include "gradus/rl/deep/vec_agent.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "gradus/core/error.h"
#include "gradus/env/finite_env.h"
#include "gradus/rl/agent_state.h"
#include "gradus/rl/deep/shared_vec_env.h"

namespace gradus::rl {

namespace {

double scale_of(double variance) {
  constexpr double kLeast = 1e-8;
  return 1 / std::sqrt(variance + kLeast);
}

std::shared_ptr<const env::FiniteMdp> mdp_of(env::Env& env) {
  return env.finite() == nullptr ? nullptr : env.finite()->shared_mdp();
}

std::string name_of(std::span<const double> numbers) {
  return fmt::format("({:.4g})", fmt::join(numbers, ", "));
}

// Those of several ranks are stepped by all of them.
std::unique_ptr<env::VecEnv> make_envs(const env::EnvFactory& make, const DeepConfig& c) {
  const env::VecConfig config{.num_envs = c.n_envs, .num_threads = static_cast<int>(c.env_threads)};
  if (c.ranks == nullptr || c.ranks->size() == 1) return env::make_vec_env(make, config);
  return std::make_unique<SharedVecEnv>(make, config, *c.ranks);
}

template <class T>
Tensor tensor_of(const std::vector<T>& values) {
  return Tensor::from<T>(values, {std::ssize(values)});
}

template <class T>
void read(const NamedTensors& state, const std::string& name, std::vector<T>& values) {
  const auto found = std::ranges::find(state, name, &NamedTensors::value_type::first);
  const int64_t n = found == state.end() || found->second.rank() != 1 ? 0 : found->second.numel();
  const auto span = find_in(state, name, {n}, dtype_of<T>::value).template span<T>();
  values.assign(span.begin(), span.end());
}

}  // namespace

VecAgent::VecAgent(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed)
    : config_(config),
      seed_(seed),
      make_env_(make_env),
      vec_env_(make_envs(make_env, config)),
      mdp_(mdp_of(*make_env())),
      inputs_(mdp_ == nullptr ? NetworkInputs(vec_env_->spec().observation_space)
                              : NetworkInputs(*mdp_, config.network.one_hot)),
      observation_moments_(inputs_.n()),
      return_moments_(1),
      discounted_returns_(static_cast<size_t>(config.n_envs), 0.0),
      rewards_(discounted_returns_.size()),
      bounded_(static_cast<size_t>(config.n_envs * action_size())) {
  const std::span<const float> first = vec_env_->reset(seed);
  observations_.assign(first.begin(), first.end());
}

void VecAgent::fill(std::span<const float> observations, std::span<float> x) const {
  const auto n = static_cast<size_t>(inputs_.n());
  const size_t rows = x.size() / n, size = observations.size() / rows;
  for (size_t i = 0; i < rows; ++i) inputs_.fill(observations.subspan(i * size, size), x.subspan(i * n, n));
}

void VecAgent::see(std::span<const float> observations, std::span<float> x) const {
  fill(observations, x);
  if (!config_.normalize.observations) return;
  const double cut = config_.normalize.clip;
  const auto n = static_cast<size_t>(inputs_.n());
  for (size_t i = 0; i < n; ++i) {
    const double mean = observation_moments_.mean(i), scale = scale_of(observation_moments_.variance(i));
    for (size_t k = i; k < x.size(); k += n) {
      x[k] = static_cast<float>(std::clamp((static_cast<double>(x[k]) - mean) * scale, -cut, cut));
    }
  }
}

void VecAgent::bound(std::span<const float> actions) {
  std::ranges::copy(actions, bounded_.begin());
  const auto* box = std::get_if<env::Box>(&this->actions());
  if (box == nullptr) return;
  for (size_t k = 0; k < bounded_.size(); ++k) {
    const size_t i = k % box->low.size();
    bounded_[k] = std::clamp(bounded_[k], static_cast<float>(box->low[i]), static_cast<float>(box->high[i]));
  }
}

const env::VecStep& VecAgent::step(std::span<const float> actions, TrainingStats& stats) {
  bound(actions);
  last_ = vec_env_->step(bounded_);
  ++vec_steps_;
  stats.add_steps(n_envs());
  for (int64_t i = 0; i < n_envs(); ++i) {
    const auto k = static_cast<size_t>(i);
    if (last_.ended(i)) stats.add_episode(last_.episode_returns[k], last_.episode_lengths[k]);
  }
  observations_.assign(last_.observations.begin(), last_.observations.end());
  if (config_.normalize.observations) {
    x_.resize(static_cast<size_t>(n_envs() * n_inputs()));
    fill(observations_, x_);
    moment_of_.assign(x_.begin(), x_.end());
    observation_moments_.add(moment_of_);
  }
  rewards_.assign(last_.rewards.begin(), last_.rewards.end());
  if (config_.normalize.rewards) normalize_rewards();
  return last_;
}

// By the deviation of the return that a discounted sum from the left gives. As in Stable-Baselines3's VecNormalize.
void VecAgent::normalize_rewards() {
  for (size_t i = 0; i < rewards_.size(); ++i) {
    discounted_returns_[i] = discounted_returns_[i] * config_.learner.gamma + rewards_[i];
  }
  return_moments_.add(discounted_returns_);
  for (size_t i = 0; i < rewards_.size(); ++i) {
    rewards_[i] = normalized(rewards_[i]);
    if (last_.ended(static_cast<int64_t>(i))) discounted_returns_[i] = 0;
  }
}

double VecAgent::normalized(double reward) const {
  if (!config_.normalize.rewards) return reward;
  const double scale = scale_of(return_moments_.variance(0)), cut = config_.normalize.clip;
  return std::clamp(reward * scale, -cut, cut);
}

Tensor VecAgent::all_states() const {
  const int64_t n = mdp_->n_states();
  std::vector<float> numbers(static_cast<size_t>(n));
  for (size_t s = 0; s < numbers.size(); ++s) numbers[s] = static_cast<float>(s);
  Tensor x = Tensor::empty({n, inputs_.n()});
  see(numbers, x.span<float>());
  return x;
}

std::vector<PlayedStep> VecAgent::play(Rng& rng, int64_t most_steps, const Watch& watch) {
  const std::unique_ptr<env::Env> env = make_env_();
  const auto* numbers = std::get_if<env::Discrete>(&actions());
  const auto* box = std::get_if<env::Box>(&actions());
  const auto* states = std::get_if<env::Discrete>(&env->spec().observation_space);
  Tensor x = Tensor::empty({1, n_inputs()});
  std::vector<float> observed, action(static_cast<size_t>(action_size()));
  std::vector<double> element(action.size());
  const auto observe = [&](env::Observation s) {
    observed.assign(s.begin(), s.end());
    if (states != nullptr) observed[0] -= static_cast<float>(states->start);
    see(observed, x.span<float>());
    return mdp_ == nullptr ? name_of(s) : mdp_->state_name(static_cast<int64_t>(s[0]));
  };
  std::vector<PlayedStep> steps;
  std::string state = observe(env->reset(rng.bits64(), {}));
  if (watch) watch(*env);
  for (int64_t t = 0; t < most_steps; ++t) {
    act_greedily(x, action);
    for (size_t i = 0; i < action.size(); ++i) {
      element[i] = static_cast<double>(action[i]);
      if (numbers != nullptr) element[i] += static_cast<double>(numbers->start);
      if (box != nullptr) element[i] = std::clamp(element[i], box->low[i], box->high[i]);
    }
    const env::StepResult m = env->step(element);
    PlayedStep step{.state = std::move(state), .action = {}, .next = observe(m.observation)};
    if (watch) watch(*env);
    step.action = mdp_ != nullptr      ? mdp_->action_name(static_cast<int64_t>(action[0]))
                  : numbers != nullptr ? fmt::format("{}", element[0])
                                       : name_of(element);
    step.reward = m.reward;
    step.terminated = m.terminated;
    step.truncated = m.truncated;
    state = step.next;
    steps.push_back(std::move(step));
    if (m.terminated || m.truncated) break;
  }
  return steps;
}

NamedTensors VecAgent::state() {
  const env::VecState envs = vec_env_->state();
  std::vector<int64_t> episodes(envs.episodes.begin(), envs.episodes.end());
  const std::vector<int64_t> counters = {static_cast<int64_t>(envs.seed), envs.next_batch, vec_steps_};
  NamedTensors state =
      state_of({{"observation_moments", &observation_moments_.table()}, {"return_moments", &return_moments_.table()}});
  state.emplace_back("discounted_returns", tensor_of(discounted_returns_));
  state.emplace_back("env.counters", tensor_of(counters));
  state.emplace_back("env.episodes", tensor_of(episodes));
  state.emplace_back("env.lengths", tensor_of(envs.lengths));
  state.emplace_back("env.actions", tensor_of(envs.actions));
  state.emplace_back("env.observations", tensor_of(envs.observations));
  return state;
}

void VecAgent::restore(const NamedTensors& state) {
  rl::restore({{"observation_moments", &observation_moments_.table()}, {"return_moments", &return_moments_.table()}},
              state);
  env::VecState envs;
  std::vector<int64_t> episodes, counters;
  std::vector<double> discounted_returns;
  read(state, "discounted_returns", discounted_returns);
  read(state, "env.counters", counters);
  read(state, "env.episodes", episodes);
  read(state, "env.lengths", envs.lengths);
  read(state, "env.actions", envs.actions);
  read(state, "env.observations", envs.observations);
  if (counters.size() != 3 || discounted_returns.size() != discounted_returns_.size()) {
    fail(ErrorCode::corrupt, "the state is of {} environments, but there are {}", discounted_returns.size(), n_envs());
  }
  envs.seed = static_cast<uint64_t>(counters[0]);
  envs.next_batch = counters[1];
  envs.episodes.assign(episodes.begin(), episodes.end());
  vec_env_->restore(envs);
  vec_steps_ = counters[2];
  discounted_returns_ = std::move(discounted_returns);
  observations_ = std::move(envs.observations);
}

}  // namespace gradus::rl
