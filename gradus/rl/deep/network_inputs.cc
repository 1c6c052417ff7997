#include "gradus/rl/deep/network_inputs.h"

#include <algorithm>
#include <cmath>

namespace gradus::rl {

NetworkInputs::NetworkInputs(const env::Space& space) : one_hot_(std::holds_alternative<env::Discrete>(space)) {
  if (one_hot_) {
    const auto& numbers = std::get<env::Discrete>(space);
    low_ = {static_cast<float>(numbers.start)};
    scale_.assign(static_cast<size_t>(numbers.n), 1.0f);
    return;
  }
  const auto& box = std::get<env::Box>(space);
  for (size_t i = 0; i < box.low.size(); ++i) {
    const double width = box.high[i] - box.low[i];
    const bool bounded = width > 0 && width < 1e30;
    low_.push_back(bounded ? static_cast<float>(box.low[i]) : 0.0f);
    scale_.push_back(bounded ? static_cast<float>(1 / width) : 1.0f);
  }
}

void NetworkInputs::fill(std::span<const float> s, std::span<float> x) const {
  if (one_hot_) {
    std::ranges::fill(x, 0.0f);
    x[static_cast<size_t>(s[0] - low_[0])] = 1.0f;
    return;
  }
  for (size_t i = 0; i < x.size(); ++i) x[i] = (s[i] - low_[i]) * scale_[i];
}

env::Space network_space(const env::EnvSpec& spec, const CoordinateEnv* points) {
  if (points == nullptr || points->coordinates().on_plane) return spec.observation_space;
  return env::Discrete{.n = static_cast<int64_t>(points->coordinates().points.size())};
}

}  // namespace gradus::rl
