// Expected Sarsa under the eps-greedy policy. Sutton & Barto, 2nd ed., section 6.6, eq. (6.9); Zhao, section 7.3.
#include "gradus/rl/tabular/learner.h"
#include "gradus/rl/tabular/td_target.h"

namespace gradus::rl {

namespace {

class ExpectedSarsa final : public ControlLearner {
  using ControlLearner::ControlLearner;

  EpisodeStats learn(env::FiniteEnv& env, Rng& rng) override {
    EpisodeStats stats;
    EpsilonGreedy pi(eps(), rng);
    int64_t s = env.begin(rng);
    while (true) {
      const int64_t a = pi(Q_[s]);
      const auto m = env.move(a, rng);
      const double delta = expected_sarsa_target(m, c_.gamma, Q_, eps()) - Q_(s, a);
      Q_(s, a) += alpha_(s, a) * delta;  // (6.9)
      stats.add(m);
      stats.add_error(delta);
      if (m.terminated || m.truncated) return EpisodeStats(stats);
      s = m.next;
    }
  }
};

}  // namespace

std::unique_ptr<Learner> make_expected_sarsa(const env::FiniteMdp& mdp, const LearnerConfig& c) {
  return std::make_unique<ExpectedSarsa>(mdp, c);
}

}  // namespace gradus::rl
