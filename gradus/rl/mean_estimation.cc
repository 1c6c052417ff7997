#include "gradus/rl/mean_estimation.h"

#include <cmath>

#include "gradus/core/error.h"

namespace gradus::rl {

double expectation(std::span<const double> values, std::span<const double> probabilities) {
  require(values.size() == probabilities.size(), "expectation: {} values, but {} probabilities", values.size(),
          probabilities.size());
  double sum = 0, mean = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    sum += probabilities[i];
    mean += probabilities[i] * values[i];
  }
  require(std::abs(sum - 1) <= 1e-9, "expectation: the probabilities sum to {:.12g}, not to 1", sum);
  return mean;
}

double StepSchedule::operator()(int64_t k) const {
  const auto n = static_cast<double>(k);
  return power == 1 ? scale / n : power == 0 ? scale : scale / std::pow(n, power);
}

void MeanEstimate::add(std::span<const double> x) {
  require(x.size() == w_.size(), "mean estimate: a sample of {} numbers for {}", x.size(), w_.size());
  const double a = schedule_(++k_);
  for (size_t i = 0; i < w_.size(); ++i) w_[i] -= a * (w_[i] - x[i]);
}

}  // namespace gradus::rl
