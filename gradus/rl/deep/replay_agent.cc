#include "gradus/rl/deep/replay_agent.h"

#include <algorithm>

#include "gradus/core/error.h"

namespace gradus::rl {

namespace {

const DeepConfig& checked(const DeepConfig& c) {
  c.check();
  return c;
}

const env::FiniteMdp& finite(const env::FiniteMdp* mdp, const env::EnvSpec& spec) {
  require(mdp != nullptr, "{}: this algorithm follows a policy of states, which only finite environments have",
          spec.id);
  return *mdp;
}

}  // namespace

ReplayAgent::ReplayAgent(std::unique_ptr<env::Env> env, const DeepConfig& config, Values values, uint64_t seed)
    : FunctionAgent(std::move(env)),
      config_(checked(config)),
      actions_(discrete_actions(this->env().spec())),
      buffer_({.capacity = config.replay.buffer_size,
               .side_by_side = config.side_by_side,
               .directory = config.replay.directory}),
      values_(values),
      inputs_(finite(mdp(), this->env().spec()), config.network.one_hot),
      network_(inputs_.n(), values == Values::of_actions ? actions_.n : 1, config.network, seed),
      batch_(config.replay.batch_size, inputs_.n()),
      y_(static_cast<size_t>(config.replay.batch_size)),
      zeros_(y_.size(), 0),
      row_(Tensor::empty({1, inputs_.n()})) {}

void ReplayAgent::begin(EpisodeEnv& env) {
  env.reset({}, {});
  s_ = static_cast<float>(points()->state());
}

env::StepResult ReplayAgent::step(EpisodeEnv& env, int64_t a) {
  const env::StepResult m = take(env, actions_, a);
  const auto action = static_cast<float>(a), s2 = static_cast<float>(points()->state());
  buffer_.add({.s = {&s_, 1},
               .a = {&action, 1},
               .r = static_cast<float>(m.reward),
               .s2 = {&s2, 1},
               .terminated = m.terminated});
  s_ = s2;
  return m;
}

int64_t ReplayAgent::greedy_action(env::Observation, Rng& rng) {
  const auto s = static_cast<float>(points()->state());
  inputs_.fill({&s, 1}, row_.span<float>());
  return greedy(network_.values(row_), rng);
}

Table ReplayAgent::values_of_all() {
  const auto n = static_cast<size_t>(inputs_.n());
  Tensor x = Tensor::empty({mdp()->n_states(), inputs_.n()});
  for (int64_t i = 0; i < x.dim(0); ++i) {
    const auto s = static_cast<float>(i);
    inputs_.fill({&s, 1}, x.span<float>().subspan(static_cast<size_t>(i) * n, n));
  }
  const std::span<const double> values = network_.values(x);
  Table table(x.dim(0), std::ssize(values) / x.dim(0));
  std::ranges::copy(values, table.values().begin());
  return table;
}

NamedTensors ReplayAgent::state() {
  NamedTensors state = network_.state();
  for (auto& tensor : buffer_.state()) state.push_back(std::move(tensor));
  state.emplace_back("episodes", Tensor::from<int64_t>({&episodes_, 1}, {1}));
  return state;
}

void ReplayAgent::restore(const NamedTensors& state) {
  network_.restore(state);
  buffer_.restore(state);
  episodes_ = find_in(state, "episodes", {1}, DType::i64).data<int64_t>()[0];
}

}  // namespace gradus::rl
