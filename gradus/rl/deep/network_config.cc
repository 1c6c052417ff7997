#include "gradus/rl/deep/network_config.h"

#include <cmath>

#include "gradus/core/error.h"
#include "gradus/rl/check_setting.h"

namespace gradus::rl {

void NetworkConfig::check() const {
  for (const int64_t width : hidden) {
    require(width >= 1 && width <= 65536, "network.hidden has a width of {}, but must have 1 to 65536", width);
  }
  check_choice("network.activation", activation, {"relu", "tanh"});
  check_positive("network.learning_rate", learning_rate);
  require(actor_learning_rate >= 0 && std::isfinite(actor_learning_rate),
          "network.actor_learning_rate is {}, but must be positive, or 0 for learning_rate", actor_learning_rate);
  require(clip_norm >= 0 && std::isfinite(clip_norm), "network.clip_norm is {}, but must be positive, or 0 for off",
          clip_norm);
  nn::precision_from_name(precision);
}

nn::Precision precision_of(const NetworkConfig& config) {
  return nn::precision_from_name(config.precision);
}

nn::MlpConfig mlp_of(const NetworkConfig& c, int64_t inputs, int64_t outputs) {
  return {.inputs = inputs, .outputs = outputs, .hidden = c.hidden, .activation = c.activation};
}

void ReplayConfig::check() const {
  check_at_least("replay.buffer_size", buffer_size, 1);
  check_at_least("replay.batch_size", batch_size, 1);
  check_at_least("replay.learning_starts", learning_starts, 0);
  check_at_least("replay.train_freq", train_freq, 1);
  if (gradient_steps != -1) check_at_least("replay.gradient_steps", gradient_steps, 1);
  check_at_least("replay.target_update_interval", target_update_interval, 1);
  check_at_least("replay.n_step", n_step, 1);
  require(n_step <= 255, "replay.n_step is {}, but must be at most 255", n_step);
  require(tau > 0 && tau <= 1, "replay.tau is {}, but must lie in (0, 1]", tau);
  check_share("replay.priority_exponent", priority_exponent);
  check_share("replay.importance_exponent", importance_exponent);
}

}  // namespace gradus::rl
