// Dynamic programming as learners, so that it is seen at work: a call of `episode` is one iteration, by the table of
// the environment, without a step in it. To a tolerance at once: dynamic_programming.h.
#include "gradus/rl/tabular/dynamic_programming.h"
#include "gradus/rl/tabular/learner.h"

namespace gradus::rl {

namespace {

// The largest change of an iteration as the error.
EpisodeStats change_of(const Table& before, const Table& now) {
  double change = 0;
  for (size_t i = 0; i < now.values().size(); ++i) {
    change = std::max(change, std::abs(now.values()[i] - before.values()[i]));
  }
  EpisodeStats stats;
  stats.add_error(change);
  return stats;
}

// V <- max_a Q(., a), Q <- r + gamma P V. Zhao, Algorithm 4.1; Sutton & Barto, 2nd ed., section 4.4.
class ValueIteration final : public ControlLearner {
  using ControlLearner::ControlLearner;

  EpisodeStats learn(env::FiniteEnv& env, Rng&) override {
    const Table before = Q_;
    Q_ = action_values_of(env.mdp(), greatest_values(Q_), c_.gamma);
    return change_of(before, Q_);
  }
};

// The values of the greedy policy, then the greedy policy of these. Zhao, Algorithm 4.2; Sutton & Barto, section 4.3.
class PolicyIteration final : public ControlLearner {
  using ControlLearner::ControlLearner;

  EpisodeStats learn(env::FiniteEnv& env, Rng&) override {
    const Table before = Q_;
    Q_ = action_values_of(env.mdp(), evaluate_policy(env.mdp(), epsilon_greedy_policy(Q_, 0, 1e-12), c_.gamma),
                          c_.gamma);
    return change_of(before, Q_);
  }
};

// The same with `n` sweeps of evaluation from the last values. Zhao, Algorithm 4.3.
class TruncatedPolicyIteration final : public ControlLearner {
  using ControlLearner::ControlLearner;

  EpisodeStats learn(env::FiniteEnv& env, Rng&) override {
    const Table before = Q_, pi = epsilon_greedy_policy(Q_, 0, 1e-12);
    for (int64_t sweep = 0; sweep < c_.n; ++sweep) {
      Q_ = action_values_of(env.mdp(), values_of(pi, Q_), c_.gamma);
    }
    return change_of(before, Q_);
  }
};

}  // namespace

std::unique_ptr<Learner> make_value_iteration(const env::FiniteMdp& mdp, const LearnerConfig& c) {
  return std::make_unique<ValueIteration>(mdp, c);
}
std::unique_ptr<Learner> make_policy_iteration(const env::FiniteMdp& mdp, const LearnerConfig& c) {
  return std::make_unique<PolicyIteration>(mdp, c);
}
std::unique_ptr<Learner> make_truncated_policy_iteration(const env::FiniteMdp& mdp, const LearnerConfig& c) {
  return std::make_unique<TruncatedPolicyIteration>(mdp, c);
}

}  // namespace gradus::rl
