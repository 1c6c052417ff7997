#include "gradus/rl/deep/running_moments.h"

namespace gradus::rl {

void RunningMoments::add(std::span<const double> rows) {
  const auto n = static_cast<size_t>(moments_.n_actions());
  const auto n_rows = static_cast<double>(rows.size() / n);
  if (rows.empty()) return;
  for (size_t i = 0; i < n; ++i) {
    double mean = 0, squares = 0;
    for (size_t k = i; k < rows.size(); k += n) mean += rows[k];
    mean /= n_rows;
    for (size_t k = i; k < rows.size(); k += n) squares += (rows[k] - mean) * (rows[k] - mean);
    const auto column = static_cast<int64_t>(i);
    double &all_mean = moments_(0, column), &all_squares = moments_(1, column), &count = moments_(2, column);
    const double delta = mean - all_mean, total = count + n_rows;
    all_mean += delta * n_rows / total;
    all_squares += squares + delta * delta * count * n_rows / total;
    count = total;
  }
}

double RunningMoments::variance(size_t i) const {
  const auto column = static_cast<int64_t>(i);
  const double count = moments_(2, column);
  return count > 0 ? moments_(1, column) / count : 1;
}

}  // namespace gradus::rl
