#include "gradus/rl/deep/replay_agent.h"

#include <algorithm>

#include "gradus/core/error.h"

namespace gradus::rl {

namespace {

const DeepConfig& checked(const DeepConfig& c) {
  c.learner.check();
  c.network.check();
  c.replay.check();
  return c;
}

}  // namespace

ReplayAgent::ReplayAgent(std::unique_ptr<env::Env> env, const DeepConfig& config, Values values, uint64_t seed)
    : FunctionAgent(std::move(env)),
      config_(checked(config)),
      actions_(discrete_actions(this->env().spec())),
      buffer_({.capacity = config.replay.buffer_size,
               .observation_size = size_of(this->env().spec().observation_space),
               .directory = config.replay.directory}),
      values_(values),
      inputs_(network_space(this->env().spec(), points()), points() != nullptr),
      network_(inputs_.n(), values == Values::of_actions ? actions_.n : 1, config.network, seed),
      batch_(config.replay.batch_size, inputs_.n()),
      y_(static_cast<size_t>(config.replay.batch_size)),
      zeros_(y_.size(), 0),
      row_(Tensor::empty({1, inputs_.n()})) {}

void ReplayAgent::begin(EpisodeEnv& env) {
  const env::Observation s = env.reset({}, {});
  s_.assign(s.begin(), s.end());
}

env::StepResult ReplayAgent::step(EpisodeEnv& env, int64_t a) {
  const env::StepResult m = take(env, actions_, a);
  s2_.assign(m.observation.begin(), m.observation.end());
  const auto action = static_cast<float>(a);
  buffer_.add({.s = s_, .a = {&action, 1}, .r = static_cast<float>(m.reward), .s2 = s2_, .terminated = m.terminated});
  std::swap(s_, s2_);
  return m;
}

std::span<const double> ReplayAgent::values_at(std::span<const float> s) {
  inputs_.fill(s, row_.span<float>());
  const std::span<const float> values = network_.values(row_);
  values_of_row_.assign(values.begin(), values.end());
  return values_of_row_;
}

int64_t ReplayAgent::greedy_action(env::Observation s, Rng& rng) {
  const std::vector<float> observed(s.begin(), s.end());
  return greedy(values_at(observed), rng);
}

Table ReplayAgent::values_of_all() {
  const std::vector<std::vector<double>>& all = points()->coordinates().points;
  Tensor x = Tensor::empty({static_cast<int64_t>(all.size()), inputs_.n()});
  for (size_t s = 0; s < all.size(); ++s) {
    const std::vector<float> observed(all[s].begin(), all[s].end());
    inputs_.fill(observed,
                 x.span<float>().subspan(s * static_cast<size_t>(inputs_.n()), static_cast<size_t>(inputs_.n())));
  }
  const std::span<const float> values = network_.values(x);
  Table table(x.dim(0), static_cast<int64_t>(values.size()) / x.dim(0));
  std::ranges::copy(values, table.values().begin());
  return table;
}

NamedTensors ReplayAgent::state() {
  NamedTensors state = network_.state();
  for (auto& tensor : buffer_.state()) state.push_back(std::move(tensor));
  return state;
}

void ReplayAgent::restore(const NamedTensors& state) {
  network_.restore(state);
  buffer_.restore(state);
}

}  // namespace gradus::rl
