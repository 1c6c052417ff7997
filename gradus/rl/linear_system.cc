#include "gradus/rl/linear_system.h"

#include <algorithm>
#include <cmath>

#include "gradus/core/error.h"

namespace gradus::rl {

std::vector<double> LinearSystem::solve() {
  double largest = 0;
  for (int64_t i = 0; i < n_; ++i) {
    for (const double x : row(i)) largest = std::max(largest, std::abs(x));
  }
  for (int64_t k = 0; k < n_; ++k) {
    int64_t pivot = k;
    for (int64_t i = k + 1; i < n_; ++i) {
      if (std::abs(at(i)[k]) > std::abs(at(pivot)[k])) pivot = i;
    }
    require(std::abs(at(pivot)[k]) > 1e-13 * largest, "linear system: singular at equation {} of {}", k + 1, n_);
    std::swap_ranges(at(k), at(k) + n_ + 1, at(pivot));
    for (int64_t i = k + 1; i < n_; ++i) {
      const double factor = at(i)[k] / at(k)[k];
      if (factor == 0) continue;
      for (int64_t j = k; j <= n_; ++j) at(i)[j] -= factor * at(k)[j];
    }
  }
  std::vector<double> x(static_cast<size_t>(n_));
  for (int64_t i = n_ - 1; i >= 0; --i) {
    double sum = at(i)[n_];
    for (int64_t j = i + 1; j < n_; ++j) sum -= at(i)[j] * x[static_cast<size_t>(j)];
    x[static_cast<size_t>(i)] = sum / at(i)[i];
  }
  return x;
}

}  // namespace gradus::rl
