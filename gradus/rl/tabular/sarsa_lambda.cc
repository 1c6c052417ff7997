// Sarsa(lambda): every visited pair shares in each error, as far as its trace lasts. Rummery & Niranjan 1994; Sutton &
// Barto, 2nd ed., section 12.7, and for replacing traces section 12.5 (Singh & Sutton 1996).
// Notation: E  [n_states, n_actions] eligibility traces
#include "gradus/rl/tabular/learner.h"
#include "gradus/rl/tabular/td_target.h"
#include "gradus/rl/tabular/traces.h"

namespace gradus::rl {

namespace {

class SarsaLambda final : public ControlLearner {
 public:
  SarsaLambda(const env::FiniteMdp& mdp, const LearnerConfig& c) : ControlLearner(mdp, c), E_(Q_, c) {}

 private:
  EpisodeStats learn(env::FiniteEnv& env, Rng& rng) override {
    EpisodeStats stats;
    EpsilonGreedy pi(eps(), rng);
    E_.begin();
    int64_t s = env.begin(rng);
    int64_t a = pi(Q_[s]);
    while (true) {
      const auto m = env.move(a, rng);
      const int64_t a2 = pi(Q_[m.next]);
      const double delta = sarsa_target(m, c_.gamma, Q_, a2) - Q_(s, a);
      E_.visit(s, a);
      E_.spread(alpha_(s, a) * delta, Q_);
      stats.add(m);
      stats.add_error(delta);
      if (m.terminated || m.truncated) return stats;
      s = m.next;
      a = a2;
    }
  }

  Traces E_;
};

}  // namespace

std::unique_ptr<Learner> make_sarsa_lambda(const env::FiniteMdp& mdp, const LearnerConfig& c) {
  return std::make_unique<SarsaLambda>(mdp, c);
}

}  // namespace gradus::rl
