#include "gradus/rl/tabular/tabular_agent.h"

#include "gradus/core/error.h"
#include "gradus/rl/terminal_states.h"

namespace gradus::rl {

std::vector<double> TabularAgent::V() {
  std::vector<double> V = learner_->V();
  zero_terminal(env_.mdp(), V);
  return V;
}

Table TabularAgent::Q() {
  Table Q = learner_->Q();
  zero_terminal(env_.mdp(), Q);
  return Q;
}

std::vector<PlayedStep> TabularAgent::play(Rng& rng, int64_t most_steps, const Watch& watch) {
  const Table& Q = learner_->Q();
  require(Q.n_states() > 0, "it learns the values of a given policy, and has none of its own to play");
  const env::FiniteMdp& mdp = env_.mdp();
  std::vector<PlayedStep> steps;
  int32_t s = env_.begin(rng);
  if (watch) watch(env_);
  for (int64_t t = 0; t < most_steps; ++t) {
    const int64_t a = greedy(Q[s], rng);
    const auto m = env_.move(a, rng);
    if (watch) watch(env_);
    steps.push_back({.state = mdp.state_name(s),
                     .action = mdp.action_name(a),
                     .next = mdp.state_name(m.next),
                     .reward = m.reward,
                     .terminated = m.terminated,
                     .truncated = m.truncated});
    if (m.terminated || m.truncated) break;
    s = m.next;
  }
  return steps;
}

}  // namespace gradus::rl
