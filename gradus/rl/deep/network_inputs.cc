#include "gradus/rl/deep/network_inputs.h"

#include <algorithm>
#include <cmath>

namespace gradus::rl {

NetworkInputs::NetworkInputs(const env::Space& space, bool unit_scale)
    : one_hot_(std::holds_alternative<env::Discrete>(space)) {
  if (one_hot_) {
    const auto& numbers = std::get<env::Discrete>(space);
    n_ = numbers.n;
    low_ = {static_cast<float>(numbers.start)};
    return;
  }
  const auto& box = std::get<env::Box>(space);
  n_ = std::ssize(box.low);
  for (size_t i = 0; i < box.low.size(); ++i) {
    const double width = box.high[i] - box.low[i];
    const bool bounded = unit_scale && width > 0 && width < 1e30;
    low_.push_back(bounded ? static_cast<float>(box.low[i]) : 0.0f);
    scale_.push_back(bounded ? static_cast<float>(1 / width) : 1.0f);
  }
}

NetworkInputs::NetworkInputs(const env::FiniteMdp& mdp, bool one_hot)
    : NetworkInputs(env::Discrete{.n = mdp.n_states()}) {
  const Coordinates at = coordinates_of(mdp);
  if (!at.on_plane || one_hot) return;
  const NetworkInputs of_point(env::Space(at.box), true);
  n_ = of_point.n();
  rows_.resize(at.points.size() * static_cast<size_t>(n_));
  for (size_t s = 0; s < at.points.size(); ++s) {
    const std::vector<float> point(at.points[s].begin(), at.points[s].end());
    of_point.fill(point, std::span(rows_).subspan(s * static_cast<size_t>(n_), static_cast<size_t>(n_)));
  }
}

void NetworkInputs::fill(std::span<const float> s, std::span<float> x) const {
  if (!rows_.empty()) {
    std::copy_n(rows_.begin() + static_cast<int64_t>(s[0]) * n_, n_, x.begin());
  } else if (one_hot_) {
    std::ranges::fill(x, 0.0f);
    x[static_cast<size_t>(s[0] - low_[0])] = 1.0f;
  } else {
    for (size_t i = 0; i < x.size(); ++i) x[i] = (s[i] - low_[i]) * scale_[i];
  }
}

env::Space network_space(const env::EnvSpec& spec, const CoordinateEnv* points) {
  if (points == nullptr || points->coordinates().on_plane) return spec.observation_space;
  return env::Discrete{.n = static_cast<int64_t>(points->coordinates().points.size())};
}

}  // namespace gradus::rl
