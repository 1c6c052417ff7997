// Semi-gradient TD(0) with linear values, prediction of a policy, on policy or off it. Sutton & Barto, 2nd ed., section
// 9.3 ("Semi-gradient TD(0)") and, with the ratio, eq. (11.2); Zhao, Algorithm 8.1 ("TD-Linear").
// Semi-gradient: the target depends on w, too, but is not differentiated. So no objective is descended: on policy w
// ends near the TD fixed point (oracles.h), off policy it may diverge. Notation: s, a, r, s2 = S_t, A_t, R_{t+1},
// S_{t+1};  phi, phi2 = phi(s), phi(s2);  w, alpha, gamma as in the books.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "gradus/core/rng.h"
#include "gradus/rl/linear/features.h"
#include "gradus/rl/linear/values.h"
#include "gradus/rl/stepping.h"

namespace gradus::rl {

struct TdLinearConfig {
  double alpha = 0.0005;
  double gamma = 0.9;

  template <class F>
  void fields(F& f) {
    f("alpha", alpha, "step size");
    f("gamma", gamma, "discount");
  }
};

// An action, and rho = pi(a|s) / b(a|s) if the policy b that acts is not the policy pi that is evaluated.
struct Choice {
  int64_t a = 0;
  double rho = 1;
};

template <FeatureMap F>
class TdLinear {
 public:
  //   features  outlives this
  //   w         [features.n()], the first weights
  // Throws invalid_argument on another number of weights, and on settings out of range.
  TdLinear(const F& features, const TdLinearConfig& config, std::vector<double> w)
      : features_(features),
        c_(config),
        V_(std::move(w)),
        phi_(static_cast<size_t>(features.n_entries())),
        phi2_(phi_) {
    check_positive("alpha", c_.alpha);
    check_share("gamma", c_.gamma);
    require(static_cast<int64_t>(V_.weights().size()) == features.n(), "td linear: {} weights for {} features",
            V_.weights().size(), features.n());
  }

  // One episode, learned from at each step.
  //   policy  called as policy(observation, rng), gives a Choice
  // Throws diverged with the number of the step, counted over all episodes.
  // Differs: a time limit ends the episode but still bootstraps, since S_{t+1} is not terminal.
  template <Environment E, class Policy>
  EpisodeStats episode(E& env, const Policy& policy, Rng& rng) {
    EpisodeStats stats;
    const env::Discrete actions = discrete_actions(env.spec());
    env::Observation s = env.reset({}, {});
    features_.phi(s, phi_);
    while (true) {
      const auto [a, rho] = policy(s, rng);
      const env::StepResult m = take(env, actions, a);
      features_.phi(m.observation, phi2_);
      const double target = m.terminated ? m.reward : m.reward + c_.gamma * V_(phi2_);
      const double delta = target - V_(phi_);
      V_.move(phi_, c_.alpha * rho * delta);  // (11.2)
      stats.add(m);
      stats.add_error(delta);
      if (m.terminated || m.truncated) return stats;
      s = m.observation;
      std::swap(phi_, phi2_);
    }
  }

  LinearValues& V() { return V_; }
  const LinearValues& V() const { return V_; }

 private:
  const F& features_;
  TdLinearConfig c_;
  LinearValues V_;
  std::vector<Entry> phi_, phi2_;
};

}  // namespace gradus::rl
