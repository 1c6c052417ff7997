// Q-learning, on-policy (its own eps-greedy policy acts) and off-policy (a given one does). Watkins 1989; Sutton &
// Barto, 2nd ed., section 6.5, eq. (6.8); Zhao, Algorithms 7.2 and 7.3.
#include "gradus/rl/tabular/learner.h"
#include "gradus/rl/tabular/td_target.h"

namespace gradus::rl {

namespace {

class QLearning final : public ControlLearner {
  using ControlLearner::ControlLearner;

  // max_a Q(s2, a) is in the target and in the choice of the next action, and is looked for once.
  EpisodeStats learn(env::FiniteEnv& env, Rng& rng) override {
    EpisodeStats stats;
    EpsilonGreedy pi(eps(), rng);
    int64_t s = env.begin(rng);
    Greatest best = greatest(Q_[s]);
    while (true) {
      const int64_t a = pi(Q_[s], best);
      const auto m = env.move(a, rng);
      const Greatest best2 = greatest(Q_[m.next]);
      const double delta = q_learning_target(m, c_.gamma, best2) - Q_(s, a);
      Q_(s, a) += alpha_(s, a) * delta;  // (6.8)
      stats.add(m);
      stats.add_error(delta);
      if (m.terminated || m.truncated) return EpisodeStats(stats);  // a copy: sums stay in registers
      best = m.next == s ? greatest(Q_[s]) : best2;
      s = m.next;
    }
  }
};

// The behaviour needs no ratio here: the target is the maximum, whatever acts. It must try everything.
class OffPolicyQLearning final : public ControlLearner {
 public:
  OffPolicyQLearning(const env::FiniteMdp& mdp, const LearnerConfig& c)
      : ControlLearner(mdp, c), behaviour_(named_policy(mdp, c.behaviour, c.behaviour_eps, c.gamma)) {
    check_covers(mdp, behaviour_);
  }

 private:
  EpisodeStats learn(env::FiniteEnv& env, Rng& rng) override {
    EpisodeStats stats;
    int64_t s = env.begin(rng);
    while (true) {
      const int64_t a = draw(behaviour_[s], rng);
      const auto m = env.move(a, rng);
      const double delta = q_learning_target(m, c_.gamma, greatest(Q_[m.next])) - Q_(s, a);
      Q_(s, a) += alpha_(s, a) * delta;
      stats.add(m);
      stats.add_error(delta);
      if (m.terminated || m.truncated) return stats;
      s = m.next;
    }
  }

  const Table behaviour_;
};

}  // namespace

std::unique_ptr<Learner> make_q_learning(const env::FiniteMdp& mdp, const LearnerConfig& c) {
  return std::make_unique<QLearning>(mdp, c);
}
std::unique_ptr<Learner> make_off_policy_q_learning(const env::FiniteMdp& mdp, const LearnerConfig& c) {
  return std::make_unique<OffPolicyQLearning>(mdp, c);
}

}  // namespace gradus::rl
