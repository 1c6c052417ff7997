#include "gradus/rl/trial.h"

#include <cmath>

#include "gradus/core/thread_pool.h"

namespace gradus::rl {

void Trial::run(int64_t episodes) {
  for (int64_t i = 0; i < episodes; ++i) {
    Rng rng(seed_, Purpose::sample, static_cast<uint64_t>(first_) + episodes_.size());
    episodes_.push_back(agent_->episode(rng));
  }
}

void run_trials(std::vector<Trial>& trials, int64_t episodes) {
  parallel_for(static_cast<int64_t>(trials.size()), [&](int64_t i) { trials[static_cast<size_t>(i)].run(episodes); });
}

MeanOfSeeds mean_of_seeds(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (const double x : values) sum += x;
  const double mean = sum / n;
  for (const double x : values) squares += (x - mean) * (x - mean);
  return {.mean = mean, .standard_error = values.size() < 2 ? 0 : std::sqrt(squares / (n - 1) / n)};
}

double rms_error(const std::vector<double>& V, const std::vector<double>& exact) {
  double sum = 0;
  for (size_t s = 0; s < exact.size(); ++s) sum += (V[s] - exact[s]) * (V[s] - exact[s]);
  return std::sqrt(sum / static_cast<double>(exact.size()));
}

}  // namespace gradus::rl
