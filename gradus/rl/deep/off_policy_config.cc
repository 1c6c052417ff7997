#include "gradus/rl/deep/off_policy_config.h"

#include <cmath>

#include "gradus/core/error.h"
#include "gradus/rl/check_setting.h"

namespace gradus::rl {

void ExplorationConfig::check() const {
  check_share("exploration.begin", begin);
  require(fraction > 0 && fraction <= 1, "exploration.fraction is {}, but must lie in (0, 1]", fraction);
  require(
      begin + fraction <= 1,
      "exploration.begin is {}, but exploration.fraction is {}: eps would fall until after the end of the training; "
      "their sum must be at most 1",
      begin, fraction);
  check_share("exploration.initial_eps", initial_eps);
  check_share("exploration.final_eps", final_eps);
}

void NoiseConfig::check() const {
  check_choice("noise.kind", kind, {"gaussian", "ornstein-uhlenbeck"});
  check_not_negative("noise.sigma", sigma);
  check_not_negative("noise.theta", theta);
  check_positive("noise.dt", dt);
  require(theta * dt < 2, "noise.theta * noise.dt is {}, but must be below 2, or the noise grows", theta * dt);
}

void Td3Config::check() const {
  check_at_least("td3.policy_delay", policy_delay, 1);
  check_not_negative("td3.target_policy_noise", target_policy_noise);
  check_not_negative("td3.target_noise_clip", target_noise_clip);
}

void SacConfig::check() const {
  check_positive("sac.ent_coef", ent_coef);
  require(std::isfinite(target_entropy), "sac.target_entropy is {}, but must be a number", target_entropy);
}

}  // namespace gradus::rl
