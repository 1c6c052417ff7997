// Least-squares TD: the TD fixed point of the experience so far, without a step size. Bradtke & Barto 1996, "Linear
// least-squares algorithms for temporal difference learning"; Sutton & Barto, 2nd ed., section 9.8, eq. (9.20) to
// (9.22); Zhao, section 8.2.5.
// Notation: x, x2 = phi(s), phi(s2), x2 = 0 after a termination;  A = epsilon I + sum x (x - gamma x2)^T;  b = sum r x.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "gradus/core/rng.h"
#include "gradus/rl/linear/features.h"
#include "gradus/rl/linear/values.h"
#include "gradus/rl/stepping.h"
#include "gradus/rl/tabular/table.h"

namespace gradus::rl {

struct LstdConfig {
  double gamma = 0.9;
  double epsilon = 1e-3;

  template <class F>
  void fields(F& f) {
    f("gamma", gamma, "discount");
    f("epsilon", epsilon, "A begins as this on its diagonal: large is slow to forget, small may be ill-conditioned");
  }
};

// A^-1 kept by Sherman and Morrison's formula, eq. (9.22), and b. Cost of a step: n^2 by the entries of x.
class LeastSquaresSystem {
 public:
  // Throws invalid_argument on settings out of range.
  LeastSquaresSystem(int64_t n, const LstdConfig& config);

  // A += x (x - gamma x2)^T, b += r x. Throws diverged, and nothing changes, when A becomes singular or A^-1 grows past
  // kLargestWeight / epsilon.
  void add(Phi x, double r, Phi x2);
  // w = A^-1 b, eq. (9.21). Throws diverged when a weight is past kLargestWeight.
  std::vector<double> weights() const;

  // A^-1 [n, n] and b [n, 1], for checkpoints.
  std::vector<std::pair<std::string, Table*>> tables() { return {{"A^-1", &inverse_}, {"b", &b_}}; }

 private:
  double gamma_, largest_;
  Table inverse_, b_;  // [n, n], [n, 1]
  std::vector<double> inverse_x_, d_inverse_;
  int64_t n_steps_ = 0;
};

template <FeatureMap F>
class Lstd {
 public:
  //   features  outlives this
  Lstd(const F& features, const LstdConfig& config)
      : features_(features), system_(features.n(), config), x_(static_cast<size_t>(features.n_entries())), x2_(x_) {}

  // One episode under `policy`, called as policy(observation, rng), gives an action's number. A time limit ends the
  // episode, but its last state still has a value.
  template <Environment E, class Policy>
  EpisodeStats episode(E& env, const Policy& policy, Rng& rng) {
    EpisodeStats stats;
    const env::Discrete actions = discrete_actions(env.spec());
    env::Observation s = env.reset({}, {});
    features_.phi(s, x_);
    while (true) {
      const env::StepResult m = take(env, actions, policy(s, rng));
      features_.phi(m.observation, x2_);
      system_.add(x_, m.reward, m.terminated ? Phi() : Phi(x2_));
      stats.add(m);
      if (m.terminated || m.truncated) return stats;
      s = m.observation;
      std::swap(x_, x2_);
    }
  }

  std::vector<double> weights() const { return system_.weights(); }
  std::vector<std::pair<std::string, Table*>> tables() { return system_.tables(); }

 private:
  const F& features_;
  LeastSquaresSystem system_;
  std::vector<Entry> x_, x2_;
};

}  // namespace gradus::rl
