// Monte Carlo prediction of a given policy: the mean of the returns that followed a state. Sutton & Barto, 2nd ed.,
// section 5.1.
#include "gradus/rl/tabular/learner.h"
#include "gradus/rl/tabular/mc_episode.h"

namespace gradus::rl {

namespace {

class McPrediction final : public PredictionLearner {
 public:
  McPrediction(const env::FiniteMdp& mdp, const LearnerConfig& c)
      : PredictionLearner(mdp, c), seen_(mdp.n_states(), 1) {}

  EpisodeStats episode(env::FiniteEnv& env, Rng& rng) override {
    EpisodeStats stats;
    const auto choose = [&](int64_t s) { return draw(pi_[s], rng); };
    const int64_t s = env.begin(rng);
    follow(env, s, choose(s), choose, c_.episode_length, rng, visits_, stats);
    mark_visits(c_.visits, visits_, seen_, ++episodes_);
    learn_returns(visits_, c_.gamma, [&](const McVisit& v, double G) {
      const double error = G - V_(v.s, 0);
      V_(v.s, 0) += alpha_(v.s, 0) * error;
      stats.add_error(error);
    });
    return stats;
  }

 private:
  std::vector<McVisit> visits_;
  Table seen_;
  double episodes_ = 0;
};

}  // namespace

std::unique_ptr<Learner> make_mc_prediction(const env::FiniteMdp& mdp, const LearnerConfig& c) {
  return std::make_unique<McPrediction>(mdp, c);
}

}  // namespace gradus::rl
