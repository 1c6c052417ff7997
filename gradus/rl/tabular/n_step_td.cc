// n-step TD, prediction of a given policy. Sutton & Barto, 2nd ed., section 7.1, eq. (7.1) and (7.2).
#include "gradus/rl/tabular/learner.h"
#include "gradus/rl/tabular/td_target.h"

namespace gradus::rl {

namespace {

class NStepTd final : public PredictionLearner {
 public:
  using PredictionLearner::PredictionLearner;

  EpisodeStats episode(env::FiniteEnv& env, Rng& rng) override {
    struct Visit {
      int64_t s;
      double r;
    };
    EpisodeStats stats;
    std::vector<Visit> visits;  // those not updated yet
    int64_t s = env.begin(rng);
    while (true) {
      const auto m = env.move(draw(pi_[s], rng), rng);
      visits.push_back({s, m.reward});
      stats.add(m);
      s = m.next;
      const bool over = m.terminated || m.truncated;
      while (!visits.empty() && (over || static_cast<int64_t>(visits.size()) == c_.n)) {
        double G = m.terminated ? 0 : V_(s, 0);
        for (auto v = visits.rbegin(); v != visits.rend(); ++v) G = v->r + c_.gamma * G;  // (7.1)
        const int64_t first = visits.front().s;
        const double delta = G - V_(first, 0);
        V_(first, 0) += alpha_(first, 0) * delta;  // (7.2)
        stats.add_error(delta);
        visits.erase(visits.begin());
      }
      if (over) return stats;
    }
  }
};

}  // namespace

std::unique_ptr<Learner> make_n_step_td(const env::FiniteMdp& mdp, const LearnerConfig& c) {
  return std::make_unique<NStepTd>(mdp, c);
}

}  // namespace gradus::rl
