#include "gradus/rl/deep/deep_config.h"

#include "gradus/core/error.h"
#include "gradus/rl/check_setting.h"

namespace gradus::rl {

void NormalizeConfig::check() const {
  check_positive("normalize.clip", clip);
}

void DeepConfig::check() const {
  learner.check();
  network.check();
  replay.check();
  on_policy.check();
  trust_region.check();
  normalize.check();
  schedule.check();
  exploration.check();
  noise.check();
  td3.check();
  sac.check();
  require(!network.linear_decay || schedule.learning_rate_share == 1,
          "network.linear_decay is true, but schedule.learning_rate_share is {}: they say how far learning rates fall "
          "twice; leave one out",
          schedule.learning_rate_share);
}

double DeepConfig::learning_rate_factor(double progress) const {
  if (network.linear_decay) return Schedule{.to = 0}(progress);
  return schedule.factor(schedule.learning_rate_share, progress);
}

}  // namespace gradus::rl
