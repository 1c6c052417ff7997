#include "gradus/rl/deep/on_policy_config.h"

#include <cmath>

#include "gradus/core/error.h"
#include "gradus/rl/check_setting.h"

namespace gradus::rl {

void OnPolicyConfig::check() const {
  check_at_least("on_policy.n_steps", n_steps, 0);
  require(gae_lambda == -1 || (gae_lambda >= 0 && gae_lambda <= 1),
          "on_policy.gae_lambda is {}, but must lie in [0, 1], or be -1 for the algorithm's own", gae_lambda);
  check_at_least("on_policy.n_epochs", n_epochs, 1);
  check_at_least("on_policy.batch_size", batch_size, 1);
  check_positive("on_policy.clip_range", clip_range);
  check_positive("on_policy.ratio_clip", ratio_clip);
  check_not_negative("on_policy.target_kl", target_kl);
  check_not_negative("on_policy.ent_coef", ent_coef);
  check_not_negative("on_policy.vf_coef", vf_coef);
  require(std::abs(log_std_init) <= 20, "on_policy.log_std_init is {}, but must lie in [-20, 20]", log_std_init);
}

void TrustRegionConfig::check() const {
  check_positive("trust_region.delta", delta);
  check_at_least("trust_region.cg_max_steps", cg_max_steps, 1);
  check_not_negative("trust_region.cg_damping", cg_damping);
  check_at_least("trust_region.line_search_max_iter", line_search_max_iter, 1);
  require(line_search_shrinking_factor > 0 && line_search_shrinking_factor < 1,
          "trust_region.line_search_shrinking_factor is {}, but must lie between 0 and 1",
          line_search_shrinking_factor);
  check_at_least("trust_region.n_critic_updates", n_critic_updates, 0);
}

}  // namespace gradus::rl
