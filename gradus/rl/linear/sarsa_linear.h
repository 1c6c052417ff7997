// Episodic semi-gradient Sarsa with linear action values. Sutton & Barto, 2nd ed., section 10.1, p. 244, eq. (10.2);
// Zhao, Algorithm 8.2.
// Notation: s, a, r, s2, a2 = S_t, A_t, R_{t+1}, S_{t+1}, A_{t+1};  phi, phi2 = phi(s), phi(s2);  m = (r, s2)
#pragma once

#include <cstdint>
#include <utility>

#include "gradus/core/rng.h"
#include "gradus/rl/linear/control.h"
#include "gradus/rl/stepping.h"
#include "gradus/rl/tabular/table.h"

namespace gradus::rl {

template <FeatureMap F>
class SarsaLinear : public LinearControl<F> {
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
    int64_t a = pi(Q_.all(phi_));
    while (true) {
      const env::StepResult m = take(env, actions, a);
      features_.phi(m.observation, phi2_);
      const auto q2 = Q_.all(phi2_);
      const int64_t a2 = pi(q2);
      const double target = m.terminated ? m.reward : m.reward + c_.gamma * q2[static_cast<size_t>(a2)];
      const double delta = target - Q_(phi_, a);
      Q_.move(phi_, a, c_.alpha * delta);  // (10.2)
      stats.add(m);
      stats.add_error(delta);
      if (m.terminated || m.truncated) return stats;
      std::swap(phi_, phi2_);
      a = a2;
    }
  }

 private:
  using LinearControl<F>::features_, LinearControl<F>::c_, LinearControl<F>::Q_;
  using LinearControl<F>::phi_, LinearControl<F>::phi2_;
};
template <FeatureMap F>
SarsaLinear(const F&, int64_t, const LinearControlConfig&) -> SarsaLinear<F>;

}  // namespace gradus::rl
