// Monte Carlo control with an eps-greedy policy, which needs no exploring starts. Sutton & Barto, 2nd ed., section 5.4;
// Zhao, Algorithm 5.3.
#include "gradus/rl/tabular/learner.h"
#include "gradus/rl/tabular/mc_episode.h"

namespace gradus::rl {

namespace {

class McEpsilonGreedy final : public ControlLearner {
 public:
  McEpsilonGreedy(const env::FiniteMdp& mdp, const LearnerConfig& c)
      : ControlLearner(mdp, c), seen_(Q_.n_states(), Q_.n_actions()) {}

 private:
  EpisodeStats learn(env::FiniteEnv& env, Rng& rng) override {
    EpisodeStats stats;
    EpsilonGreedy pi(eps(), rng);
    const auto choose = [&](int64_t s) { return pi(Q_[s]); };
    const int64_t s = env.begin(rng);
    follow(env, s, choose(s), choose, c_.episode_length, rng, visits_, stats);
    mark_visits(c_.visits, visits_, seen_, ++episodes_);
    if (c_.forget_returns) std::ranges::fill(alpha_.counts().values(), 0.0);
    learn_returns(visits_, c_.gamma, [&](const McVisit& v, double G) {
      const double error = G - Q_(v.s, v.a);
      Q_(v.s, v.a) += alpha_(v.s, v.a) * error;
      stats.add_error(error);
    });
    return stats;
  }

  std::vector<McVisit> visits_;
  Table seen_;
  double episodes_ = 0;
};

}  // namespace

std::unique_ptr<Learner> make_mc_epsilon_greedy(const env::FiniteMdp& mdp, const LearnerConfig& c) {
  return std::make_unique<McEpsilonGreedy>(mdp, c);
}

}  // namespace gradus::rl
