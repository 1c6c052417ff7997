#include "gradus/env/space.h"

#include <fmt/format.h>

#include <cmath>

#include "gradus/core/error.h"

namespace gradus::env {

namespace {

double sample_between(double low, double high, Rng& rng) {
  if (std::isfinite(low) && std::isfinite(high)) return low + (high - low) * rng.uniform();
  if (std::isfinite(low)) return low - std::log(1 - rng.uniform());
  if (std::isfinite(high)) return high + std::log(1 - rng.uniform());
  return rng.normal();
}

}  // namespace

int64_t size_of(const Space& space) {
  const Box* box = std::get_if<Box>(&space);
  return box == nullptr ? 1 : static_cast<int64_t>(box->low.size());
}

bool contains(const Space& space, std::span<const double> element) {
  if (static_cast<int64_t>(element.size()) != size_of(space)) return false;
  if (const Discrete* d = std::get_if<Discrete>(&space)) {
    const double x = element[0] - static_cast<double>(d->start);
    return x >= 0 && x < static_cast<double>(d->n) && x == std::floor(x);
  }
  const Box& box = std::get<Box>(space);
  for (size_t i = 0; i < element.size(); ++i) {
    if (!(element[i] >= box.low[i] && element[i] <= box.high[i])) return false;
  }
  return true;
}

void sample(const Space& space, Rng& rng, std::span<double> element) {
  GRADUS_CHECK(static_cast<int64_t>(element.size()) == size_of(space));
  if (const Discrete* d = std::get_if<Discrete>(&space)) {
    element[0] = static_cast<double>(d->start + rng.below(d->n));
    return;
  }
  const Box& box = std::get<Box>(space);
  for (size_t i = 0; i < element.size(); ++i) element[i] = sample_between(box.low[i], box.high[i], rng);
}

std::string to_string(const Space& space) {
  if (const Discrete* d = std::get_if<Discrete>(&space)) {
    return d->start == 0 ? fmt::format("Discrete({})", d->n) : fmt::format("Discrete({}, start {})", d->n, d->start);
  }
  return fmt::format("Box({})", size_of(space));
}

}  // namespace gradus::env
