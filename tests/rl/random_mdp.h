// Random finite Markov decision processes, the same ones for the same seed: what tests of algorithms range over.
#pragma once

#include <memory>
#include <utility>

#include "gradus/core/rng.h"
#include "gradus/env/finite_env.h"
#include "gradus/env/finite_mdp.h"
#include "gradus/rl/tabular/table.h"

namespace gradus::rl {

struct RandomMdpConfig {
  uint64_t seed = 1;
  int64_t least_actions = 1;  // to 4
  double ends = 0;            // the least probability that an action ends the episode
  double reward_scale = 1;    // mean rewards lie within +- this
  double deviation = 0;       // of every reward
};

// 2 to 8 states and up to 4 actions; of every action one to three ways to end, some of them terminating; in every other
// MDP the last state is terminal, too. An episode may start in every state that is not.
inline std::shared_ptr<const env::FiniteMdp> random_mdp(const RandomMdpConfig& c) {
  Rng rng(c.seed, Purpose::test);
  const int64_t n = 2 + rng.below(7), n_actions = c.least_actions + rng.below(5 - c.least_actions);
  const bool terminal = n > 2 && rng.below(2) == 0;
  const int64_t n_acting = terminal ? n - 1 : n;
  env::FiniteMdp::Definition d{.n_states = n, .n_actions = n_actions};
  d.outcomes.resize(static_cast<size_t>(n * n_actions));
  d.start.assign(static_cast<size_t>(n), 0.0);
  for (int64_t s = 0; s < n_acting; ++s) {
    d.start[static_cast<size_t>(s)] = 1 / static_cast<double>(n_acting);
    for (int64_t a = 0; a < n_actions; ++a) {
      auto& outcomes = d.outcomes[static_cast<size_t>(s * n_actions + a)];
      const auto add = [&](double p, bool terminated) {
        outcomes.push_back({.probability = p,
                            .next = static_cast<int32_t>(rng.below(n)),
                            .terminated = terminated,
                            .reward = c.reward_scale * (2 * rng.uniform() - 1),
                            .deviation = c.deviation});
      };
      double left = 1 - c.ends;
      if (c.ends > 0) add(c.ends, true);
      for (int64_t more = rng.below(3); more > 0; --more) {
        const double p = left * rng.uniform();
        add(p, rng.below(6) == 0);
        left -= p;
      }
      add(left, false);
    }
  }
  return std::make_shared<const env::FiniteMdp>(std::move(d));
}

// A row of random probabilities for every state.
inline Table random_policy(const env::FiniteMdp& mdp, uint64_t seed) {
  Rng rng(seed, Purpose::test, 1);
  Table pi(mdp.n_states(), mdp.n_actions());
  for (int64_t s = 0; s < mdp.n_states(); ++s) {
    double sum = 0;
    for (double& p : pi[s]) sum += p = 0.05 + rng.uniform();
    for (double& p : pi[s]) p /= sum;
  }
  return pi;
}

inline env::FiniteEnv env_of(std::shared_ptr<const env::FiniteMdp> mdp, int64_t max_episode_steps) {
  return {std::move(mdp), {.id = "test", .max_episode_steps = max_episode_steps, .reward_threshold = {}}};
}

}  // namespace gradus::rl
