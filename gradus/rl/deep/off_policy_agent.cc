#include "gradus/rl/deep/off_policy_agent.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "gradus/core/error.h"
#include "gradus/rl/agent_state.h"
#include "gradus/rl/deep/deep_agent.h"

namespace gradus::rl {

namespace {

const DeepConfig& checked(const DeepConfig& c) {
  c.check();
  return c;
}

std::span<float> row(Tensor& t, size_t i) {
  const auto n = static_cast<size_t>(t.dim(1));
  return t.span<float>().subspan(i * n, n);
}

}  // namespace

ReplayBatch::ReplayBatch(int64_t B, int64_t n_inputs, int64_t action_size)
    : own{0, B},
      s(Tensor::empty({B, n_inputs})),
      s2(Tensor::empty({B, n_inputs})),
      a(static_cast<size_t>(B * action_size)),
      r(static_cast<size_t>(B)),
      discount(r.size()),
      weight(r.size(), 1.0),
      error(r.size()),
      in_buffer(r.size()) {}

OffPolicyAgent::OffPolicyAgent(const env::EnvFactory& make_env, const DeepConfig& config, uint64_t seed)
    : VecAgent(make_env, checked(config), seed),
      units_(actions()),
      buffer_({.capacity = replay().buffer_size,
               .observation_size = std::ssize(observations()) / n_envs(),
               .action_size = action_size(),
               .side_by_side = config.side_by_side,
               .directory = replay().directory}),
      n_step_(replay().n_step, config.learner.gamma, n_envs(), std::ssize(observations()) / n_envs(), action_size()),
      priorities_(replay().prioritised ? replay().buffer_size : 1, replay().priority_exponent),
      batch_(replay().batch_size, n_inputs(), action_size()),
      s_(Tensor::empty({n_envs(), n_inputs()})),
      unit_(static_cast<size_t>(n_envs() * action_size())),
      actions_(unit_.size()) {
  if (config.ranks == nullptr) return;
  require(replay().batch_size >= config.ranks->shards(),
          "replay.batch_size is {}, but parallel.shards is {}, of which each needs a row; raise the one or lower the "
          "other",
          replay().batch_size, config.ranks->shards());
  batch_.own = own_rows(replay().batch_size, config.ranks);
}

int64_t OffPolicyAgent::train(int64_t done, int64_t until, uint64_t, TrainingStats& stats) {
  for (; done < until; done += n_envs()) {
    act(stats);
    if (steps() > replay().learning_starts && steps() / n_envs() % replay().train_freq == 0) learn(stats);
  }
  return done;
}

void OffPolicyAgent::act(TrainingStats& stats) {
  const auto size = static_cast<size_t>(action_size()), n = static_cast<size_t>(std::ssize(observations()) / n_envs());
  const auto unit = [&](int64_t i) { return std::span(unit_).subspan(static_cast<size_t>(i) * size, size); };
  if (steps() < replay().learning_starts) {
    for (int64_t i = 0; i < n_envs(); ++i) {
      Rng draws = rng(Purpose::sample, i);
      units_.draw(draws, unit(i));
    }
  } else {
    see(observations(), s_.span<float>());
    explore(s_, unit_);
  }
  for (int64_t i = 0; i < n_envs(); ++i) {
    n_step_.act(i, observations().subspan(static_cast<size_t>(i) * n, n), unit(i));
  }
  units_.to_space(unit_, actions_);
  const env::VecStep& m = step(actions_, stats);
  for (int64_t i = 0; i < n_envs(); ++i) {
    const auto k = static_cast<size_t>(i);
    n_step_.reward(i, m.rewards[k], m.next_observation(i), m.terminated[k] != 0, m.ended(i), [&](const Transition& t) {
      if (replay().prioritised) priorities_.add(buffer_.added() % buffer_.capacity());
      buffer_.add(t);
    });
    if (m.ended(i)) episode_ended(i);
  }
}

void OffPolicyAgent::learn(TrainingStats& stats) {
  if (buffer_.size() == 0) return;  // the first n steps are not yet complete
  const int64_t own = replay().train_freq * n_envs();
  const int64_t updates = replay().gradient_steps == -1 ? own : replay().gradient_steps;
  for (int64_t k = 0; k < updates; ++k) {
    draw(k);
    update(batch_, k, stats);
    if (!replay().prioritised) continue;
    for (size_t i = 0; i < batch_.size(); ++i) priorities_.set(batch_.in_buffer[i], batch_.error[i]);
  }
}

void OffPolicyAgent::choose(Rng& rng) {
  ReplayBatch& b = batch_;
  if (!replay().prioritised) {
    for (int64_t& i : b.in_buffer) i = rng.below(buffer_.size());
    return;
  }
  const double least = replay().importance_exponent;
  priorities_.draw(buffer_.size(), least + (1 - least) * std::min(1.0, progress()), rng, b.in_buffer, b.weight);
}

void OffPolicyAgent::draw(int64_t k) {
  ReplayBatch& b = batch_;
  Rng draws = rng(Purpose::data, k);
  choose(draws);
  const auto size = static_cast<size_t>(action_size());
  for (auto i = static_cast<size_t>(b.own.begin); i < static_cast<size_t>(b.own.end); ++i) {
    const Transition t = buffer_[b.in_buffer[i]];
    see(t.s, row(b.s, i));
    see(t.s2, row(b.s2, i));
    std::ranges::copy(t.a, b.a.begin() + static_cast<int64_t>(i * size));
    b.r[i] = normalized(t.r);
    b.discount[i] = t.terminated ? 0 : std::pow(config_.learner.gamma, static_cast<double>(t.steps));
  }
}

NamedTensors OffPolicyAgent::state() {
  NamedTensors state = VecAgent::state();
  for (auto& tensor : buffer_.state()) state.push_back(std::move(tensor));
  for (auto& tensor : n_step_.state()) state.push_back(std::move(tensor));
  if (replay().prioritised) state.emplace_back("replay.priorities", priorities_.state(buffer_.size()));
  return state;
}

void OffPolicyAgent::restore(const NamedTensors& state) {
  VecAgent::restore(state);
  buffer_.restore(state);
  n_step_.restore(state);
  if (replay().prioritised) {
    priorities_.restore(find_in(state, "replay.priorities", {buffer_.size() + 1}, DType::f64));
  }
}

namespace {

template <class Kind>
const Kind& actions_of(std::string_view algorithm, const env::Space& actions, const char* kind) {
  const auto* own = std::get_if<Kind>(&actions);
  if (own != nullptr) return *own;
  std::vector<std::string_view> others;
  for (const DeepAlgorithm& a : deep_algorithms()) {
    if (a.learns == Learns::control && can_act(a, actions)) others.push_back(a.name);
  }
  fail(ErrorCode::invalid_argument, "{0}: the actions are {1}, but {0} acts in a {2} alone; here can {3}", algorithm,
       to_string(actions), kind, fmt::join(others, ", "));
}

}  // namespace

const env::Discrete& discrete_actions(std::string_view algorithm, const env::Space& actions) {
  return actions_of<env::Discrete>(algorithm, actions, "Discrete space");
}

const env::Box& box_actions(std::string_view algorithm, const env::Space& actions) {
  return actions_of<env::Box>(algorithm, actions, "Box");
}

}  // namespace gradus::rl
