// TD(0), prediction of a given policy. Sutton & Barto, 2nd ed., section 6.1, eq. (6.2); Zhao, section 7.1, eq. (7.1).
#include "gradus/rl/tabular/learner.h"
#include "gradus/rl/tabular/td_target.h"

namespace gradus::rl {

namespace {

class Td0 final : public PredictionLearner {
 public:
  using PredictionLearner::PredictionLearner;

  EpisodeStats episode(env::FiniteEnv& env, Rng& rng) override {
    EpisodeStats stats;
    int64_t s = env.begin(rng);
    while (true) {
      const auto m = env.move(draw(pi_[s], rng), rng);
      const double delta = bootstrapped(m, c_.gamma, V_(m.next, 0)) - V_(s, 0);
      V_(s, 0) += alpha_(s, 0) * delta;  // (6.2)
      stats.add(m);
      stats.add_error(delta);
      if (m.terminated || m.truncated) return stats;
      s = m.next;
    }
  }
};

}  // namespace

std::unique_ptr<Learner> make_td0(const env::FiniteMdp& mdp, const LearnerConfig& c) {
  return std::make_unique<Td0>(mdp, c);
}

}  // namespace gradus::rl
