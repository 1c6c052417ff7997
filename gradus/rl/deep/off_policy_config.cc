#include "gradus/rl/deep/off_policy_config.h"

#include <cmath>
#include <string_view>

#include "gradus/core/error.h"

namespace gradus::rl {

namespace {

void check_share(std::string_view key, double value) {
  require(value >= 0 && value <= 1, "{} is {}, but must lie in [0, 1]", key, value);
}
void check_not_negative(std::string_view key, double value) {
  require(value >= 0 && std::isfinite(value), "{} is {}, but must not be negative", key, value);
}
void check_positive(std::string_view key, double value) {
  require(value > 0 && std::isfinite(value), "{} is {}, but must be positive", key, value);
}

}  // namespace

void ExplorationConfig::check() const {
  require(fraction > 0 && fraction <= 1, "exploration.fraction is {}, but must lie in (0, 1]", fraction);
  check_share("exploration.initial_eps", initial_eps);
  check_share("exploration.final_eps", final_eps);
}

void NoiseConfig::check() const {
  require(kind == "gaussian" || kind == "ornstein-uhlenbeck",
          "noise.kind is '{}', but must be gaussian or ornstein-uhlenbeck", kind);
  check_not_negative("noise.sigma", sigma);
  check_not_negative("noise.theta", theta);
  check_positive("noise.dt", dt);
  require(theta * dt < 2, "noise.theta * noise.dt is {}, but must be below 2, or the noise grows", theta * dt);
}

void Td3Config::check() const {
  require(policy_delay >= 1, "td3.policy_delay is {}, but must be at least 1", policy_delay);
  check_not_negative("td3.target_policy_noise", target_policy_noise);
  check_not_negative("td3.target_noise_clip", target_noise_clip);
}

void SacConfig::check() const {
  check_positive("sac.ent_coef", ent_coef);
  require(std::isfinite(target_entropy), "sac.target_entropy is {}, but must be a number", target_entropy);
}

}  // namespace gradus::rl
