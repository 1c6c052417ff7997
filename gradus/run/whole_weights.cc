#include "gradus/run/whole_weights.h"

namespace gradus::run {

namespace {

// How many elements of each parameter's master each rank keeps, [P, parameters]. Collective.
std::vector<double> kept_elements(std::span<autograd::Parameter* const> parameters, Ranks& ranks) {
  std::vector<double> kept(parameters.size() * static_cast<size_t>(ranks.size()), 0.0);
  double* mine = kept.data() + parameters.size() * static_cast<size_t>(ranks.rank());
  for (const autograd::Parameter* p : parameters)
    *mine++ = p->master.defined() ? static_cast<double>(p->master.numel()) : 0.0;
  ranks.merge(kept);
  return kept;
}

}  // namespace

std::vector<Tensor> whole_weights(std::span<autograd::Parameter* const> parameters, Ranks* ranks) {
  const size_t n = parameters.size(), P = ranks != nullptr ? static_cast<size_t>(ranks->size()) : 1;
  const std::vector<double> kept = P > 1 ? kept_elements(parameters, *ranks) : std::vector<double>(n, 0.0);
  std::vector<Tensor> weights;
  for (size_t i = 0; i < n; ++i) {
    const autograd::Parameter& p = *parameters[i];
    std::vector<int64_t> bounds{0};  // ranks keep one piece each, in their order (optim::GradientBuckets)
    for (size_t r = 0; r < P; ++r) bounds.push_back(bounds.back() + static_cast<int64_t>(kept[r * n + i]));
    if (P == 1 || bounds.back() == 0 || bounds.back() == static_cast<int64_t>(P) * p.value.numel()) {
      weights.push_back(p.weights());
      continue;
    }
    GRADUS_CHECK(bounds.back() == p.value.numel());
    const auto rank = static_cast<size_t>(ranks->rank());
    Tensor whole = Tensor::empty(p.value.shape(), p.master.dtype());
    if (p.master.numel() > 0) {
      whole.view({whole.numel()}).rows(bounds[rank], bounds[rank + 1]).copy_from(p.master.view({p.master.numel()}));
    }
    ranks->group().gather(whole, 0, bounds);
    weights.push_back(ranks->is_first() ? whole : Tensor{});
  }
  return weights;
}

}  // namespace gradus::run
