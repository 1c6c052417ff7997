// MC Basic: policy iteration whose action values are means of returns. Zhao, Algorithm 5.1. A call of `episode` is one
// iteration: `episodes_per_pair` episodes of `episode_length` steps from every state and action, by the greedy policy.
#include "gradus/rl/tabular/learner.h"
#include "gradus/rl/tabular/mc_episode.h"

namespace gradus::rl {

namespace {

class McBasic final : public ControlLearner {
  using ControlLearner::ControlLearner;

  // The total reward is the mean over the episodes.
  EpisodeStats learn(env::FiniteEnv& env, Rng& rng) override {
    const Table Q = Q_;  // of the policy that is evaluated
    const auto policy = [&](int64_t s) { return std::ranges::max_element(Q[s]) - Q[s].begin(); };
    EpisodeStats stats;
    int64_t n_episodes = 0;
    for (int64_t s = 0; s < Q.n_states(); ++s) {
      if (env.mdp().is_terminal(s)) continue;
      for (int64_t a = 0; a < Q.n_actions(); ++a) {
        double sum = 0;
        for (int64_t k = 0; k < c_.episodes_per_pair; ++k, ++n_episodes) {
          env.begin_at(static_cast<int32_t>(s));
          sum += discounted_return(env, a, policy, rng, stats);
        }
        Q_(s, a) = sum / static_cast<double>(c_.episodes_per_pair);
        stats.add_error(Q_(s, a) - Q(s, a));
      }
    }
    stats.total_reward /= static_cast<double>(std::max<int64_t>(1, n_episodes));
    return stats;
  }

  template <class Policy>
  double discounted_return(env::FiniteEnv& env, int64_t a, Policy policy, Rng& rng, EpisodeStats& stats) const {
    double G = 0, discount = 1;
    for (int64_t t = 0; t < c_.episode_length; ++t, discount *= c_.gamma) {
      const auto m = env.move(a, rng);
      G += discount * m.reward;
      stats.add(m);
      if (m.terminated) break;
      a = policy(m.next);
    }
    return G;
  }
};

}  // namespace

std::unique_ptr<Learner> make_mc_basic(const env::FiniteMdp& mdp, const LearnerConfig& c) {
  return std::make_unique<McBasic>(mdp, c);
}

}  // namespace gradus::rl
