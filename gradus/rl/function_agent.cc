#include "gradus/rl/function_agent.h"

#include <fmt/format.h>

#include "gradus/core/error.h"
#include "gradus/rl/stepping.h"
#include "gradus/rl/terminal_states.h"

namespace gradus::rl {

namespace {

std::string name_of(env::Observation s) {
  return fmt::format("({:.4g})", fmt::join(s, ", "));
}

}  // namespace

FunctionAgent::FunctionAgent(std::unique_ptr<env::Env> env) : env_(std::move(env)) {
  if (env::FiniteEnv* finite = env_->finite()) points_ = std::make_unique<CoordinateEnv>(*finite);
}

std::vector<double> FunctionAgent::V() {
  if (mdp() == nullptr) return {};
  std::vector<double> V = state_values();
  zero_terminal(*mdp(), V);
  return V;
}

Table FunctionAgent::Q() {
  if (mdp() == nullptr) return {};
  Table Q = action_values();
  zero_terminal(*mdp(), Q);
  return Q;
}

std::vector<PlayedStep> FunctionAgent::play(Rng& rng, int64_t most_steps, const Watch& watch) {
  require(has_policy(), "it learns the values of a given policy, and has none of its own to play");
  const env::Discrete actions = discrete_actions(env().spec());
  std::vector<PlayedStep> steps;
  EpisodeEnv episode_env{env(), rng};
  env::Observation s = episode_env.reset({}, {});
  if (watch) watch(*env_);
  for (int64_t t = 0; t < most_steps; ++t) {
    const int64_t a = greedy_action(s, rng);
    PlayedStep step{.state = name_of(s),
                    .action = mdp() == nullptr ? fmt::format("{}", actions.start + a) : mdp()->action_name(a),
                    .next = {}};
    const env::StepResult m = take(episode_env, actions, a);
    if (watch) watch(*env_);
    step.next = name_of(m.observation);
    step.reward = m.reward;
    step.terminated = m.terminated;
    step.truncated = m.truncated;
    steps.push_back(std::move(step));
    if (m.terminated || m.truncated) break;
    s = m.observation;
  }
  return steps;
}

GivenPolicy::GivenPolicy(const env::FiniteMdp* mdp, const env::EnvSpec& spec, const std::string& name, double eps,
                         double gamma) {
  require(mdp != nullptr, "{}: '{}' is a policy of finite environments, which have a table of states", spec.id, name);
  pi_ = named_policy(*mdp, name, eps, gamma);
}

}  // namespace gradus::rl
