#include "gradus/rl/deep/action_noise.h"

#include <algorithm>
#include <cmath>

namespace gradus::rl {

ActionNoise::ActionNoise(const NoiseConfig& c, int64_t n_envs, int64_t action_size)
    : keep_(c.kind == "gaussian" ? 0 : 1 - c.theta * c.dt),
      deviation_(c.kind == "gaussian" ? c.sigma : c.sigma * std::sqrt(c.dt)),
      e_(Tensor::zeros({n_envs, action_size}, DType::f64)) {}

std::span<const double> ActionNoise::next(int64_t env, double factor, Rng& rng) {
  for (double& e : of(env)) e = keep_ * e + factor * deviation_ * rng.normal();
  return of(env);
}

void ActionNoise::reset(int64_t env) {
  std::ranges::fill(of(env), 0.0);
}

}  // namespace gradus::rl
