// TD(lambda), prediction of a given policy with eligibility traces. Sutton 1988; Sutton & Barto, 2nd ed., section 12.2,
// eq. (12.5) to (12.7), tabular.
#include "gradus/rl/tabular/learner.h"
#include "gradus/rl/tabular/td_target.h"
#include "gradus/rl/tabular/traces.h"

namespace gradus::rl {

namespace {

class TdLambda final : public PredictionLearner {
 public:
  TdLambda(const env::FiniteMdp& mdp, const LearnerConfig& c) : PredictionLearner(mdp, c), E_(V_, c) {}

  EpisodeStats episode(env::FiniteEnv& env, Rng& rng) override {
    EpisodeStats stats;
    E_.begin();
    int64_t s = env.begin(rng);
    while (true) {
      const auto m = env.move(draw(pi_[s], rng), rng);
      const double delta = bootstrapped(m, c_.gamma, V_(m.next, 0)) - V_(s, 0);  // (12.6)
      E_.visit(s, 0);                                                            // (12.5)
      E_.spread(alpha_(s, 0) * delta, V_);                                       // (12.7)
      stats.add(m);
      stats.add_error(delta);
      if (m.terminated || m.truncated) return stats;
      s = m.next;
    }
  }

 private:
  Traces E_;
};

}  // namespace

std::unique_ptr<Learner> make_td_lambda(const env::FiniteMdp& mdp, const LearnerConfig& c) {
  return std::make_unique<TdLambda>(mdp, c);
}

}  // namespace gradus::rl
