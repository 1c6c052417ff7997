// Monte Carlo control with exploring starts: each episode begins with a random state and action and goes on greedily.
// Sutton & Barto, 2nd ed., section 5.3; Zhao, Algorithm 5.2 and section 5.3 (initial, first and every visit).
#include "gradus/rl/tabular/learner.h"
#include "gradus/rl/tabular/mc_episode.h"

namespace gradus::rl {

namespace {

class McExploringStarts final : public ControlLearner {
 public:
  McExploringStarts(const env::FiniteMdp& mdp, const LearnerConfig& c)
      : ControlLearner(mdp, c), seen_(Q_.n_states(), Q_.n_actions()) {
    for (int64_t s = 0; s < mdp.n_states(); ++s) {
      if (!mdp.is_terminal(s)) starts_.push_back(static_cast<int32_t>(s));
    }
  }

 private:
  EpisodeStats learn(env::FiniteEnv& env, Rng& rng) override {
    EpisodeStats stats;
    const int32_t s = env.begin_at(starts_[static_cast<size_t>(pick(static_cast<int64_t>(starts_.size()), rng))]);
    const int64_t a = pick(Q_.n_actions(), rng);
    follow(
        env, s, a, [&](int64_t s2) { return greedy(Q_[s2], rng); }, c_.episode_length, rng, visits_, stats);
    mark_visits(c_.visits, visits_, seen_, ++episodes_);
    learn_returns(visits_, c_.gamma, [&](const McVisit& v, double G) {
      const double error = G - Q_(v.s, v.a);
      Q_(v.s, v.a) += alpha_(v.s, v.a) * error;
      stats.add_error(error);
    });
    return stats;
  }

  std::vector<int32_t> starts_;
  std::vector<McVisit> visits_;
  Table seen_;
  double episodes_ = 0;
};

}  // namespace

std::unique_ptr<Learner> make_mc_exploring_starts(const env::FiniteMdp& mdp, const LearnerConfig& c) {
  return std::make_unique<McExploringStarts>(mdp, c);
}

}  // namespace gradus::rl
