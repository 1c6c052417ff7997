#include "gradus/env/binned_actions.h"

#include <cmath>

#include "gradus/core/error.h"

namespace gradus::env {

namespace {

std::vector<double> evenly_spaced(const Box& box, int64_t n) {
  std::vector<double> bins;
  for (int64_t k = 0; k < n; ++k)
    bins.push_back(std::lerp(box.low[0], box.high[0], static_cast<double>(k) / static_cast<double>(n - 1)));
  return bins;
}

}  // namespace

BinnedActions::BinnedActions(std::unique_ptr<Env> env, int64_t n_bins) : env_(std::move(env)), spec_(env_->spec()) {
  require(n_bins >= 2, "{}: action_bins is {}, but must be at least 2", spec_.id, n_bins);
  const auto* box = std::get_if<Box>(&spec_.action_space);
  require(box != nullptr && box->low.size() == 1 && std::isfinite(box->low[0]) && std::isfinite(box->high[0]),
          "{}: action_bins is {}, but actions are {}, and must be one number between two bounds", spec_.id, n_bins,
          to_string(spec_.action_space));
  bins_ = evenly_spaced(*box, n_bins);
  spec_.action_space = Discrete{.n = n_bins};
}

StepResult BinnedActions::step(std::span<const double> action) {
  require(contains(spec_.action_space, action), "{}: step: the action {} is not in {}", spec_.id,
          action.empty() ? 0.0 : action[0], to_string(spec_.action_space));
  return env_->step({&bins_[static_cast<size_t>(action[0])], 1});
}

}  // namespace gradus::env
