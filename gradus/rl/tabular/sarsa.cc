// Sarsa, on-policy TD control. Sutton & Barto, 2nd ed., section 6.4, eq. (6.7); Zhao, Algorithm 7.1.
// Notation: s, a, r, s2, a2 = S_t, A_t, R_{t+1}, S_{t+1}, A_{t+1};  m = (r, s2)
#include "gradus/rl/tabular/learner.h"
#include "gradus/rl/tabular/td_target.h"

namespace gradus::rl {

namespace {

class Sarsa final : public ControlLearner {
  using ControlLearner::ControlLearner;

  EpisodeStats learn(env::FiniteEnv& env, Rng& rng) override {
    EpisodeStats stats;
    EpsilonGreedy pi(eps(), rng);
    int64_t s = env.begin(rng);
    int64_t a = pi(Q_[s]);
    while (true) {
      const auto m = env.move(a, rng);
      const int64_t a2 = pi(Q_[m.next]);
      const double delta = sarsa_target(m, c_.gamma, Q_, a2) - Q_(s, a);
      Q_(s, a) += alpha_(s, a) * delta;  // (6.7)
      stats.add(m);
      stats.add_error(delta);
      if (m.terminated || m.truncated) return EpisodeStats(stats);
      s = m.next;
      a = a2;
    }
  }
};

}  // namespace

std::unique_ptr<Learner> make_sarsa(const env::FiniteMdp& mdp, const LearnerConfig& c) {
  return std::make_unique<Sarsa>(mdp, c);
}

}  // namespace gradus::rl
