#include "gradus/rl/deep/rollout.h"

#include <cmath>

namespace gradus::rl {

Rollout::Rollout(int64_t steps, int64_t n_envs, int64_t n_inputs, int64_t action_size)
    : T(steps),
      N(n_envs),
      x(Tensor::empty({steps * n_envs, n_inputs})),
      actions(Tensor::empty({steps * n_envs, action_size})),
      log_probs(static_cast<size_t>(steps * n_envs)),
      rewards(log_probs.size()),
      terminated(log_probs.size()),
      truncated(log_probs.size()),
      last_x(Tensor::empty({n_envs, n_inputs})),
      values(log_probs.size()),
      next_values(log_probs.size()) {}

void generalized_advantages(const Rollout& r, double gamma, double lambda, std::vector<double>& advantages) {
  const auto N = static_cast<size_t>(r.N);
  advantages.resize(static_cast<size_t>(r.rows()));
  for (size_t i = advantages.size(); i-- > 0;) {
    const double delta = r.rewards[i] + gamma * r.next_values[i] - r.values[i];
    const bool goes_on = !r.terminated[i] && !r.truncated[i] && i + N < advantages.size();
    advantages[i] = delta + (goes_on ? gamma * lambda * advantages[i + N] : 0);
  }
}

void normalize(std::span<double> x) {
  const auto n = static_cast<double>(x.size());
  double mean = 0, squares = 0;
  for (const double v : x) mean += v;
  mean /= n;
  for (const double v : x) squares += (v - mean) * (v - mean);
  const double scale = 1 / (std::sqrt(squares / n) + 1e-8);
  for (double& v : x) v = (v - mean) * scale;
}

}  // namespace gradus::rl
