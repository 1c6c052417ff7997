#include "gradus/rl/deep/action_units.h"

#include <algorithm>
#include <cmath>

#include "gradus/core/error.h"

namespace gradus::rl {

ActionUnits::ActionUnits(const env::Space& actions) {
  if (const auto* numbers = std::get_if<env::Discrete>(&actions)) {
    n_ = numbers->n;
    return;
  }
  const auto& box = std::get<env::Box>(actions);
  for (size_t i = 0; i < box.low.size(); ++i) {
    require(std::isfinite(box.low[i]) && std::isfinite(box.high[i]),
            "number {} of the action lies in [{}, {}], but this algorithm needs finite bounds, whose range its noise "
            "is measured in",
            i, box.low[i], box.high[i]);
    middle_.push_back((box.high[i] + box.low[i]) / 2);
    half_.push_back((box.high[i] - box.low[i]) / 2);
  }
}

void ActionUnits::to_space(std::span<const float> u, std::span<float> a) const {
  if (middle_.empty()) {
    if (u.data() != a.data()) std::ranges::copy(u, a.begin());
    return;
  }
  for (size_t k = 0; k < u.size(); ++k) {
    const size_t i = k % middle_.size();
    a[k] = static_cast<float>(middle_[i] + half_[i] * static_cast<double>(u[k]));
  }
}

void ActionUnits::draw(Rng& rng, std::span<float> u) const {
  for (float& x : u)
    x = static_cast<float>(middle_.empty() ? static_cast<double>(rng.below(n_)) : 2 * rng.uniform() - 1);
}

}  // namespace gradus::rl
