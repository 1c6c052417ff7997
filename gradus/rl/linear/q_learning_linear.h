// Semi-gradient Q-learning with linear action values, acting eps-greedily. Zhao, Algorithm 8.3; the target of Sutton &
// Barto, 2nd ed., eq. (6.8). Bootstrapping, approximation and another policy's actions together may diverge (section
// 11.3, "the deadly triad").
// Notation: s, a, r, s2 = S_t, A_t, R_{t+1}, S_{t+1};  phi, phi2 = phi(s), phi(s2);  m = (r, s2)
#pragma once

#include <cstdint>
#include <utility>

#include "gradus/core/rng.h"
#include "gradus/rl/linear/control.h"
#include "gradus/rl/stepping.h"
#include "gradus/rl/tabular/table.h"

namespace gradus::rl {

template <FeatureMap F>
class QLearningLinear : public LinearControl<F> {
 public:
  using LinearControl<F>::LinearControl;

  // One episode. Throws diverged with the number of the step, counted over all episodes.
  // Differs: a time limit ends the episode but still bootstraps, since S_{t+1} is not terminal.
  template <Environment E>
  EpisodeStats episode(E& env, Rng& rng) {
    EpisodeStats stats;
    EpsilonGreedy pi(c_.eps, rng);
    const env::Discrete actions = discrete_actions(env.spec());
    features_.phi(env.reset({}, {}), phi_);
    while (true) {
      const int64_t a = pi(Q_.all(phi_));
      const env::StepResult m = take(env, actions, a);
      features_.phi(m.observation, phi2_);
      const double target = m.terminated ? m.reward : m.reward + c_.gamma * max_of(Q_.all(phi2_));
      const double delta = target - Q_(phi_, a);
      Q_.move(phi_, a, c_.alpha * delta);
      stats.add(m);
      stats.add_error(delta);
      if (m.terminated || m.truncated) return stats;
      std::swap(phi_, phi2_);
    }
  }

 private:
  using LinearControl<F>::features_, LinearControl<F>::c_, LinearControl<F>::Q_;
  using LinearControl<F>::phi_, LinearControl<F>::phi2_;
};
template <FeatureMap F>
QLearningLinear(const F&, int64_t, const LinearControlConfig&) -> QLearningLinear<F>;

}  // namespace gradus::rl
