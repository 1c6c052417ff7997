// What the linear control algorithms share: settings and memory.
#pragma once

#include <cstdint>
#include <vector>

#include "gradus/core/error.h"
#include "gradus/env/env.h"
#include "gradus/rl/linear/features.h"
#include "gradus/rl/linear/values.h"

namespace gradus::rl {

struct LinearControlConfig {
  double alpha = 0.001;
  double gamma = 0.9;
  double eps = 0.1;

  template <class F>
  void fields(F& f) {
    f("alpha", alpha, "step size of a weight; with n tilings a value moves n times as far");
    f("gamma", gamma, "discount");
    f("eps", eps, "share of random actions of the eps-greedy policy");
  }
};

// The weights begin as zeros.
template <FeatureMap F>
class LinearControl {
 public:
  //   features  outlives this
  // Throws invalid_argument on settings out of range.
  LinearControl(const F& features, int64_t n_actions, const LinearControlConfig& config)
      : features_(features),
        c_(config),
        Q_(features.n(), n_actions),
        phi_(static_cast<size_t>(features.n_entries())),
        phi2_(phi_) {
    check_positive("alpha", config.alpha);
    check_share("gamma", config.gamma);
    check_share("eps", config.eps);
  }

  LinearActionValues& Q() { return Q_; }
  const LinearActionValues& Q() const { return Q_; }

  // [n_actions], valid until the next call.
  std::span<const double> values_at(env::Observation s) {
    features_.phi(s, phi_);
    return Q_.all(phi_);
  }
  // [n_points, n_actions]: the action values of points, such as all states of a grid.
  Table values_at(const std::vector<std::vector<double>>& points) {
    Table values(static_cast<int64_t>(points.size()), Q_.weights().n_actions());
    for (size_t i = 0; i < points.size(); ++i) {
      std::ranges::copy(values_at(std::span(points[i])), values[static_cast<int64_t>(i)].begin());
    }
    return values;
  }

 protected:
  const F& features_;
  LinearControlConfig c_;
  LinearActionValues Q_;
  std::vector<Entry> phi_, phi2_;  // of s and of s2
};

}  // namespace gradus::rl
