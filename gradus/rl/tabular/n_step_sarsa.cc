// n-step Sarsa: n rewards, then bootstrap. n = 1 is Sarsa, a large n Monte Carlo. Sutton & Barto, 2nd ed., section 7.2,
// eq. (7.5); Zhao, section 7.4, eq. (7.17).
// Notation: tau is the step whose action is updated at time t = tau + n - 1, or when the episode has ended at T
#include "gradus/rl/tabular/learner.h"
#include "gradus/rl/tabular/td_target.h"

namespace gradus::rl {

namespace {

class NStepSarsa final : public ControlLearner {
  using ControlLearner::ControlLearner;

  struct Visit {
    int64_t s, a;
    double r;
  };

  EpisodeStats learn(env::FiniteEnv& env, Rng& rng) override {
    EpisodeStats stats;
    EpsilonGreedy pi(eps(), rng);
    std::vector<Visit> visits;  // from tau on
    int64_t s = env.begin(rng);
    int64_t a = pi(Q_[s]);
    while (true) {
      const auto m = env.move(a, rng);
      visits.push_back({s, a, m.reward});
      stats.add(m);
      s = m.next;
      a = pi(Q_[s]);
      const bool over = m.terminated || m.truncated;
      while (!visits.empty() && (over || static_cast<int64_t>(visits.size()) == c_.n)) {
        double G = m.terminated ? 0 : Q_(s, a);
        for (auto v = visits.rbegin(); v != visits.rend(); ++v) G = v->r + c_.gamma * G;  // (7.4)
        const Visit& first = visits.front();
        const double delta = G - Q_(first.s, first.a);
        Q_(first.s, first.a) += alpha_(first.s, first.a) * delta;  // (7.5)
        stats.add_error(delta);
        visits.erase(visits.begin());
      }
      if (over) return stats;
    }
  }
};

}  // namespace

std::unique_ptr<Learner> make_n_step_sarsa(const env::FiniteMdp& mdp, const LearnerConfig& c) {
  return std::make_unique<NStepSarsa>(mdp, c);
}

}  // namespace gradus::rl
