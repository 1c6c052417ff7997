#include "gradus/rl/deep/network_inputs.h"

#include <algorithm>

#include "gradus/rl/coordinates.h"

namespace gradus::rl {

NetworkInputs::NetworkInputs(const env::Space& space) : one_hot_(std::holds_alternative<env::Discrete>(space)) {
  n_ = one_hot_ ? std::get<env::Discrete>(space).n : size_of(space);
}

NetworkInputs::NetworkInputs(const env::FiniteMdp& mdp, bool one_hot)
    : NetworkInputs(env::Discrete{.n = mdp.n_states()}) {
  const Coordinates at = coordinates_of(mdp);
  if (!at.on_plane || one_hot) return;
  n_ = std::ssize(at.box.low);
  for (const std::vector<double>& point : at.points) {
    for (size_t i = 0; i < point.size(); ++i) {
      const double width = at.box.high[i] - at.box.low[i];
      rows_.push_back(width > 0 ? static_cast<float>((point[i] - at.box.low[i]) / width) : 0.0f);
    }
  }
}

void NetworkInputs::fill(std::span<const float> s, std::span<float> x) const {
  if (!rows_.empty()) {
    std::copy_n(rows_.begin() + static_cast<int64_t>(s[0]) * n_, n_, x.begin());
  } else if (one_hot_) {
    std::ranges::fill(x, 0.0f);
    x[static_cast<size_t>(s[0])] = 1.0f;
  } else {
    std::ranges::copy(s, x.begin());
  }
}

}  // namespace gradus::rl
