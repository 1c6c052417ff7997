// Double Q-learning: one table chooses the best action, the other tells its value, so that noise is not taken for
// worth. van Hasselt 2010; Sutton & Barto, 2nd ed., section 6.7, eq. (6.10).
#include "gradus/rl/tabular/learner.h"
#include "gradus/rl/tabular/td_target.h"

namespace gradus::rl {

namespace {

class DoubleQLearning final : public ControlLearner {
 public:
  DoubleQLearning(const env::FiniteMdp& mdp, const LearnerConfig& c)
      : ControlLearner(mdp, c), Q1_(Q_), Q2_(Q_), alpha2_(c, mdp.n_states(), mdp.n_actions()) {}

  std::vector<std::pair<std::string, Table*>> tables() override {
    auto all = ControlLearner::tables();  // Q is the mean of Q1 and Q2; N is of Q1
    all.insert(all.end(), {{"Q1", &Q1_}, {"Q2", &Q2_}, {"N2", &alpha2_.counts()}});
    return all;
  }

 private:
  EpisodeStats learn(env::FiniteEnv& env, Rng& rng) override {
    EpisodeStats stats;
    EpsilonGreedy pi(eps(), rng);
    int64_t s = env.begin(rng);
    while (true) {
      const int64_t a = pi(Q_[s]);
      const auto m = env.move(a, rng);
      const bool first = (rng.bits32() & 1) != 0;
      Table& A = first ? Q1_ : Q2_;
      const Table& B = first ? Q2_ : Q1_;
      const double value = B(m.next, greedy(A[m.next], rng));
      const double delta = bootstrapped(m, c_.gamma, value) - A(s, a);
      A(s, a) += (first ? alpha_ : alpha2_)(s, a) * delta;  // (6.10)
      Q_(s, a) = (Q1_(s, a) + Q2_(s, a)) / 2;
      stats.add(m);
      stats.add_error(delta);
      if (m.terminated || m.truncated) return stats;
      s = m.next;
    }
  }

  Table Q1_, Q2_;
  StepSizes alpha2_;  // of Q2; alpha_ is of Q1
};

}  // namespace

std::unique_ptr<Learner> make_double_q_learning(const env::FiniteMdp& mdp, const LearnerConfig& c) {
  return std::make_unique<DoubleQLearning>(mdp, c);
}

}  // namespace gradus::rl
